"""Tools without knowledge of a lab.

Errors, files, waits, processes, progress, credentials, reading of untrusted input.
"""
