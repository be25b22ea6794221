"""The node's meter: the daemon, the power models as data, and the sources of energy."""
