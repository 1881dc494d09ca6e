"""The root of every error that Portcullis raises on purpose."""

from __future__ import annotations


class PortcullisError(Exception):
    """Root of all errors raised by Portcullis; there are three kinds.

    * The input is bad: a subclass naming field, limit and value; the order is rejected or dead-lettered.
    * The world is down (broker, warehouse, certificate authority): retried, or the flow is held back.
    * We are wrong (a broken assumption of our own): nobody catches it, the process stops.
    """
