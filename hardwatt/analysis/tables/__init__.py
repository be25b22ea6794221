"""Other people's tables: reading, the design that they show, statistics of unpaired and paired runs, results."""
