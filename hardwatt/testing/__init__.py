"""Test doubles with a known truth: a synthetic bundle, a fake host, hosts constructed from documentation."""
