"""Drills: rehearsed emergencies on topics of their own, through the real pipeline; and the yearly fitness test."""
