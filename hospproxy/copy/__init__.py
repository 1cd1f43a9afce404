"""The copy of HOSP's records: every state of each record that HOSP has shown, sealed on disk.

In reading order:

- ``rules.py``: which of two sightings of a record is newer, what proves a deletion, since when a state holds. Pure.
- ``records.py``: finds complete records in responses. Pure.
- ``sealing.py``: each record's own key.
- ``files.py``: the two SQLite files, and what makes them unusable.
- ``store.py``: applies what responses say, in one transaction for a group of them.
- ``intake.py``: takes responses to the store's thread, after they have left.
- ``build_copy.py``: makes these from the settings.
- ``history.py``: what the commands read: figures, the records of one day, what is damaged; and how one is forgotten.
- ``writing.py``: writes records as JSON Lines and CSV.
- ``cli.py``: the command ``hospproxy-copy``.

It is off by default. ADR 62 has the reasons; docs/copy.md is for operators and auditors.
"""
