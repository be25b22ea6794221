"""The command line: what ``invoke`` finds here. The commands are in ``hardwatt/cli``, one file a group.

invoke --list
invoke lab.up --help
"""

from hardwatt.cli.tasks import namespace

ns = namespace()
