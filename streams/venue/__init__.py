"""For venue adapters: an approval that proves itself is acted on, anything else is refused."""
