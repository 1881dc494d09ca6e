"""The risk desk: a live page on what the lanes decide, and the commands of named people."""
