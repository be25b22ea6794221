"""GitOps: the lab's repository, Flux, and what Flux applies."""
