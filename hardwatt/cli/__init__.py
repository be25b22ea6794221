"""Command lines of hardwatt.

The tasks of Invoke, one file a collection, and the console script ``hardwatt``. Names, help, exit codes.
"""
