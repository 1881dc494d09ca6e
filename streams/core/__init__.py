"""Rules and arithmetic without I/O: standard library only."""
