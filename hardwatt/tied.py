"""Run a command that ends with the process that started it, also where that is killed: Linux's parent death signal.

It is run as a file, with the standard library alone. The signal comes with the end of the starting thread.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command of the arguments from the second on; the first is the number of the process to end with."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != int(sys.argv[1]):  # it ended before the call
            sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell, by purpose


if __name__ == "__main__":
    main()
