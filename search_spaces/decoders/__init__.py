"""Decoders, one paper a file."""
