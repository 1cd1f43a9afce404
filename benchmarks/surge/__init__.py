"""A surge of real requests: when it is noticed, where it is told, and what becomes of everybody's requests."""
