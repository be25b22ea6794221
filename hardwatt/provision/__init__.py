"""Provisioning of a node: the data for the deploys (node.json), the run of pyinfra, reboots."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])

# What the deploys are told is typed in deploys/contract.py. They lie in the checkout beside this package and are no
# part of the distribution, so a console script does not find them by itself.
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
