"""The Kubernetes API of a lab.

Client, kubeconfig, tunnel, forwarded ports, objects and their changes, which restore themselves.
"""
