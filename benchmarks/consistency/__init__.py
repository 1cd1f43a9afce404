"""Consistency trials: after a write got its response, no read may show the state before it, whatever fails."""
