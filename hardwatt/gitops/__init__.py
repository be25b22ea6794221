"""GitOps of a lab.

The lab's git repository, Flux and its bootstrap, generated manifests, and readiness of all that Flux applies.
"""
