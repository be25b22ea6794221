"""Everything that a lab installs: filled, verified, served."""
