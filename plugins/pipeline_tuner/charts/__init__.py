"""Every chart, defined once: a function from typed records to an Altair chart (Vega-Lite), serving light and dark."""
