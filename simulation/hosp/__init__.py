"""HOSP in the simulated world: records, faults that are decided by content, and a journal of its actions."""
