"""Measures, one family of metrics a file."""
