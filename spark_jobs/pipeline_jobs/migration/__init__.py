"""The migration job: a table from one database to another, in key ranges, each exactly once."""
