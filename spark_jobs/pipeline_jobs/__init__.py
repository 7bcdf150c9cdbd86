"""The jobs that the tuner measures. Nothing here imports the plugin: it runs anywhere Python does."""
