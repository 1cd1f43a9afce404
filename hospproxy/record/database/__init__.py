"""The searchable index of the audit trail in PostgreSQL, which several machines can share.

A sink fills it, a reader answers the audit page and the commands from it. Its results must equal those of
`record/search/match.py`.

Modules in reading order:

- `schema.py`: the tables and their indexes.
- `connect.py`: how to connect, and how to insert rows that may exist.
- `access.py`: one thread with one connection, and its timeouts.
- `words.py`: texts stored as numbers.
- `sink.py`: the sink that inserts batches.
- `retention.py`: deletes records past their retention.
- `conditions.py`: filters as SQL conditions and index choices.
- `bounded_search.py`: the search loop, bounded in work.
- `reader.py`: pages, single records, exports and the summary (`ITrailReader`).
- `build_database.py`: makes sink and reader from the settings; without a URL, those of `record/columns/`.

`record/sinks/build_sinks.py`, `service/service.py` and `record/commands/indexed.py` import it. SQLAlchemy is slow to
import, so other code imports this folder only where the database is used.
"""
