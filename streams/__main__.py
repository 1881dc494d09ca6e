"""`python -m streams` is `portcullis`."""

from streams.cli import main

main()
