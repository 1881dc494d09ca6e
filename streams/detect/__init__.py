"""How good the detector is, measured on labelled data that nobody here made."""
