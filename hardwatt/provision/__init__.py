"""The node made by the deploys: what they are told, the run of pyinfra, what it asked for."""
