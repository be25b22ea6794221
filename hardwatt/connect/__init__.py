"""SSH to a node: endpoint, routes, tunnels, sudo and its password, the lock on a host."""
