"""Delivery of a commit as Kubernetes objects.

Flux (pull), a CI runner's Job (push), a CI server. Arms are made of these.
"""
