"""Kafka as everybody beside the engine uses it: reading committed records, producing, giving commands."""
