"""A lab's life: up and down, a look at it, and the first experiment."""
