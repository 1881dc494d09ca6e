"""The archive: every audit event with its proof, written once, in a store outside the cluster's control."""
