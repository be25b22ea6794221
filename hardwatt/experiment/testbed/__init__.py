"""The lab that an experiment runs on: the interface, and the real lab behind it."""
