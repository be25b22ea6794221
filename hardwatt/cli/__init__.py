"""Command lines of hardwatt.

One registry of commands, declared in one file a group; ``hardwatt`` and ``invoke`` are two views of it. Names, help,
exit codes.
"""
