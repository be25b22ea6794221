"""Run a command that ends with its parent process, also if that process is killed (Linux's parent death signal).

The module runs as a file, with the standard library alone. The signal comes with the end of the starting thread.
"""

import argparse
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command of the arguments, after asking for the signal."""
    parser = argparse.ArgumentParser(description="Run a command that ends with the process that started it.")
    parser.add_argument("parent", type=int, help="number of the process to end with")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    given = parser.parse_args()
    if not given.command:
        parser.error("a command is missing")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != given.parent:  # it ended before the call
            sys.exit(1)
    os.execvp(given.command[0], given.command)  # noqa: S606 - no shell, by purpose


if __name__ == "__main__":
    main()
