"""Consistency trials: once a write has its response, no read may show the earlier state, even during failures."""
