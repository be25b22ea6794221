"""The meter: the daemon on the node, power models as data, and the sources of energy that a node has."""
