"""Places where a lab's node stands: embedded here, in a virtual machine, or on somebody's host."""
