"""The audit log as a transparency log: signed checkpoints, proofs, and verification that needs none of our services."""
