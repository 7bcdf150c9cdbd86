"""The jobs that the pipeline tuner measures. Nothing here imports the plugin: it runs anywhere Python does."""
