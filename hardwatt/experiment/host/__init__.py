"""The machine under the node: one look at it, and the checks made of that look."""
