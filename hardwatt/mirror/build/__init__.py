"""Programs built from Go modules: the families as data, and their builder."""
