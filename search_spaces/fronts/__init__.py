"""Fronts, one a file."""
