"""Steps that set up a node: one file a step, each with one ``configure()``.

The order is the list in ``deploys/node.py``. Everything here imports pyinfra and the standard
library only, and reads what it needs to know from the host data that ``inventory/lab.py`` gives; ``contract.py`` has
their types.
"""
