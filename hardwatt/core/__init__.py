"""What every package stands on: errors, files, waiting, processes, progress, credentials."""
