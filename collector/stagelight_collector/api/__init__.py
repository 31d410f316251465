"""The API: runs, steps and events as JSON."""
