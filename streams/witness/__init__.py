"""The witness: a party with its own key that has seen every log grow, and says so by its cosignature."""
