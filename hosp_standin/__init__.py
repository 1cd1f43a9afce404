"""A stand-in HOSP: the upstream's resources in memory, with its delays and its faults, for development and tests."""
