"""The mirror: packages, images and tools that a lab installs, downloaded and verified or built, and served to nodes."""
