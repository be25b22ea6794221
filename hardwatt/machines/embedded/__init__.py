"""The embedded node: a machine of its own inside this one, by systemd-nspawn."""
