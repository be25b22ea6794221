"""The command line: what ``invoke`` finds here. The tasks are in ``hardwatt/cli``, one file a collection.

invoke --list
invoke lab.up --help
"""

from hardwatt.cli.namespace import namespace

ns = namespace()
