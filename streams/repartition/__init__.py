"""Moving a running installation to another number of lanes: new topics, the old state, no limit forgotten."""
