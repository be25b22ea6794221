"""Machines that carry a lab's node.

Embedded (systemd-nspawn), virtual (QEMU), or a host over SSH, with the host key that the lab learns; the lock on a lab.
"""
