"""Tests with real sockets and processes: ``pytest integration``."""
