"""What delivers a commit, as objects of Kubernetes: Flux, a runner's Job, a CI server. The arms are made of these."""
