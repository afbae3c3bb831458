"""Samplers, one a file; found by their ``kind``."""
