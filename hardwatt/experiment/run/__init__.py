"""While it runs: the loop, gate, window, journal, and going on after an interruption."""
