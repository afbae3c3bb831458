"""Layouts of files that can be ingested, one file each."""
