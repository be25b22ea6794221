"""The mirror: everything that a lab installs, downloaded and verified or built, and served to nodes."""
