"""Raw samples, from Prometheus into a bundle.

Each sample once, at its exact millisecond, with the untouched answers.
"""
