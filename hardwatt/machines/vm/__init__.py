"""The virtual machine: a node with a kernel of its own, by QEMU."""
