"""Settings (lab.toml), the lock of versions, and a lab's folder on disk."""
