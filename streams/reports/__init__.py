"""Report batches: a folder that proves itself to somebody who trusts none of us."""
