"""Experiments: study and plan, checks of the host, testbed, gate, run loop and journal, and the interface of an arm."""
