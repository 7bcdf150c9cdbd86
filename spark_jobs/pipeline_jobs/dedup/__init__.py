"""The latest record of each key."""
