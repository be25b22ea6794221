"""Experiments: plan, host, testbed and run, what an arm is, and what the tasks call (``operations``)."""
