"""Searching the audit trail: what can be asked, which records match, and what is returned.

Modules in reading order:

- `filters.py`: the filters of a search as one frozen value, parsed from texts; page keys.
- `rows.py`: results (rows, pages, summary) and the errors of an index that cannot be used.
- `match.py`: the rule by which a record matches the filters. The database must agree with it.
- `record_values.py`: the values of a record by which an index finds it.
- `folder.py`: searches the journal's files directly, without an index.

The audit page, `record/database/`, `record/export/` and `record/commands/` import it. It imports only
`record/trail/`.
"""
