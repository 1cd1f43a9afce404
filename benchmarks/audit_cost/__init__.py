"""Measures the cost of writing each audit record to disk before its response leaves."""
