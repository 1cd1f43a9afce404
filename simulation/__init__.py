"""Simulates a whole hospital in one process and in virtual time, from one seed: see docs/testing.md."""
