"""Stand-ins whose truth is known: a synthetic bundle, a fake host, hosts made from documentation."""
