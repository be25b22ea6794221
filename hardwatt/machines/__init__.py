"""Machines that carry a lab's node.

Embedded (systemd-nspawn), virtual (QEMU), or a host over SSH; and the lock on a lab.
"""
