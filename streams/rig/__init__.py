"""The rig: everything of a run on one machine, started, fed, watched and stopped."""
