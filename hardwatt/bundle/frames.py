"""polars, without what it does to Ctrl-C.

Importing polars replaces the process's handler of SIGINT by one that has the kernel restart the system call that the
signal interrupted. Python then never gets to raise ``KeyboardInterrupt``: a question at the terminal, or a wait for a
lock or for another program, goes on as if nobody had pressed a key. Only through this module is polars imported.
"""

import signal

import polars as pl

__all__ = ["pl"]

if hasattr(signal, "siginterrupt"):  # not on Windows, which restarts nothing
    signal.siginterrupt(signal.SIGINT, True)
