"""Rows of the trail as files that others read: CSV, JSON Lines, FHIR AuditEvents."""

from .lines import csv_lines, fhir_lines, jsonl_lines

__all__ = ["csv_lines", "fhir_lines", "jsonl_lines"]
