"""The cluster's API: the client, the tunnel to it, forwarded ports, objects and their changes."""
