"""Before anything runs: studies, the run table, sample sizes, the preregistration."""
