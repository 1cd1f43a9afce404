"""``hospproxy-audit``, the auditor's command.

Modules in reading order:

- `cli.py`: the entry point; lists the subcommands.
- `verifying.py`: ``verify``, which checks chain and signatures.
- `asking.py`: what ``search`` and ``export`` share: options, source, recording the look.
- `sources.py`, `indexed.py`: where records are read: the trail's folder, or the database.
- `looking.py`: writes the audit record of a look at the trail.
- `searching.py`, `showing.py`: ``search``, and its table.
- `exporting.py`: ``export`` to CSV, JSON Lines or FHIR.
- `users.py`: ``user``, which manages the users of the audit page.

Only the console script imports this folder. The proxy does not.
"""
