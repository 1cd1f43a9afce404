"""The audit trail: one record for every request, on disk before its response leaves.

Modules in reading order:

- `audit.py`: the outermost processor; records each exchange with its outcome.
- `intent.py`: the processor that records a write before it is sent to HOSP.
- `patient.py`: the processor that finds out whose record a write deletes or moves.
- `describe.py`: makes the record of an exchange (docs/audit.md lists the fields).
- `http_facts.py`: what a record says for the access log (host, sizes, user agent).
- `path_names.py`: what a request's path names, for requests refused early.
- `admin_events.py`: records of what operators do to the proxy itself.
- `disclosures.py`: the set of patients that a response with a list discloses.

Folders, each with a guide in its `__init__.py`:

- `trail/`: the journal's files on disk.
- `sinks/`: delivery to sinks.
- `columns/`: the searchable index, as columns in Parquet files.
- `database/`: the searchable index in PostgreSQL, for several machines.
- `search/`: filters, matching, results.
- `export/`: CSV, JSON Lines, FHIR.
- `extract/`: what an animal's owner may be told.
- `alerts/`: alert rules.
- `access_log/`: the access log, in formats of others' tools.
- `commands/`: ``hospproxy-audit``.

`service/assembly.py` puts the processors into the chain and `service/service.py` starts and stops the rest. `watch/`,
`state/`, `sharing/`, `process/host.py` and `interfaces.py` import single modules. `record/` imports the contract,
messages and errors, helpers of `guard/`, `outward/` and `arrival/`, and the sections of `options/`.
"""
