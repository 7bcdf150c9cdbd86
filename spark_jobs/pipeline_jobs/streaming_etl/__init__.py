"""The streaming ETL: documents of a collection become rows of many tables, each batch in one transaction."""
