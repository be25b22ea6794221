"""What a person may set, the lock of versions, and a lab's place on disk."""
