"""GitOps of a lab.

The lab's git repository, Flux and its bootstrap, generated manifests, and the state of all that Flux applies.
"""
