"""The Kubernetes API of a lab.

Client, kubeconfig, the state of nodes and pods, tunnel, forwarded ports, objects, and changes that restore themselves.
"""
