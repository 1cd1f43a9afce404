"""A stand-in HOSP for development and tests: the upstream's resources in memory, with its delays and faults."""
