"""hardwatt: the hard way, in watts.

A kubeadm and Flux energy lab that anybody can repeat. See README.md for the tree and
who owns what; ``hardwatt.bundle``, ``instruments``, ``analysis`` and ``report`` work
without the ``lab`` extra.
"""

__version__ = "0.1.0"
