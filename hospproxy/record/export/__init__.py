"""Writes rows of the audit trail as files: CSV, JSON Lines, FHIR R4 AuditEvents.

Modules in reading order:

- `lines.py`: the three generators that turn rows into pieces of bytes. Start here.
- `table.py`: the CSV columns.
- `texts.py`: makes texts safe for terminals and spreadsheets.
- `fhir.py`: one record as an AuditEvent.
- `events.py`: the kind and the outcome of an AuditEvent.
- `codes.py`: code systems and codes of FHIR, DICOM and IHE.

`record/commands/` and `watch/audit_page/` import it. It imports only `record/search/`.
"""

from .lines import csv_lines, fhir_lines, jsonl_lines

__all__ = ["csv_lines", "fhir_lines", "jsonl_lines"]
