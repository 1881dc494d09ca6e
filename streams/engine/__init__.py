"""Faust on micro-batches: one Kafka transaction per partition and batch."""
