"""Surveyed systems as candidates, one paper a file."""
