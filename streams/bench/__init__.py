"""The bench: the worker beside the leanest loop and plain Faust, on one broker, with the same signed orders."""
