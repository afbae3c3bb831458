"""Immutable data sets of Arrow shards: ingest a folder, open what was ingested, verify it."""
