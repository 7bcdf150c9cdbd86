"""The written analysis of a sweep (`written`), and a short form for a terminal (`terminal`)."""
