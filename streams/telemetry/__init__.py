"""Metrics, health and logs of every process, for those who watch it."""
