"""Raw samples into a bundle: from Prometheus, or imported from another tool's file.

Each sample once, at its exact millisecond, with the untouched answers.
"""
