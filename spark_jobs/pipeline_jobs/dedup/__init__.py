"""The deduplication job: the latest record of each key."""
