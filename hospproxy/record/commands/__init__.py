"""``hospproxy-audit``, the auditor's command.

Modules in reading order:

- `cli.py`: the entry point; lists the subcommands.
- `verify_command.py`: ``verify``, which checks chain and signatures.
- `query.py`: what ``search``, ``export`` and ``extract`` share: options, source, recording the look.
- `sources.py`, `indexed_folder.py`, `indexed.py`: where records are read: the trail's folder, its index, or
  PostgreSQL.
- `look_record.py`: writes the audit record of a look at the trail.
- `search_command.py`, `terminal_table.py`: ``search``, and its table.
- `person_summary.py`: ``search --by-person``.
- `extract_command.py`: ``extract``, for an animal's owner.
- `export_command.py`: ``export`` to CSV, JSON Lines or FHIR.
- `user_command.py`: ``user``, which manages the users of the audit page.

Only the console script imports this folder. The proxy does not.
"""
