"""The report on access logs."""
