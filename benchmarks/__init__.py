"""Measurements beside the same load straight at HOSP: run by hand or by ``make load``, needed by nothing."""
