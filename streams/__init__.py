"""Portcullis: the gate between trading bots and venues."""
