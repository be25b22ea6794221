"""The command lines: the tasks of Invoke, one file a collection, and the console script ``hardwatt``."""
