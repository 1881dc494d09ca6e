"""Bytes from and to the outside: encodings and signatures."""
