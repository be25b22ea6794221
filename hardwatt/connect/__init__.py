"""The way to a node: its endpoint, SSH and its routes, sudo, tunnels, the lock on a host."""
