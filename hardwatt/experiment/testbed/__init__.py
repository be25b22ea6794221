"""What an experiment runs on: the interface, and the real lab behind it."""
