"""The batch quantizer: raw datapoints of an Iceberg table, rolled up to windows in another."""
