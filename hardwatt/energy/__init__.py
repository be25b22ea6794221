"""Energy at the terminal: the talk's queries and units of energy."""
