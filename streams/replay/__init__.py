"""Trying a policy on the past: the log's orders decided again, and the verdicts that would differ."""
