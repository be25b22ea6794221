"""Energy at the terminal: the talk's queries, conversions, and a page for beginners."""
