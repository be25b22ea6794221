"""From Prometheus to a bundle: raw samples, each once, at its exact millisecond, with the answers as they came."""
