"""The searchable index of the audit trail, in columns: Parquet files that DuckDB reads and writes.

It holds the values to search by and the places of lines; the lines stay in the journal. It is made from the journal
and can be removed at any time. Its results must equal those of `record/search/match.py`. docs/adr/0037 says why.

Modules in reading order:

- `entries.py`: a line of the journal as one row of the index.
- `trail_files.py`: the journal's files: lines with places, single lines by place.
- `manifest.py`: the list of what the index holds, replaced as a whole.
- `engine.py`: DuckDB, with bounds.
- `segments.py`: writes Parquet files.
- `upkeep.py`: adds what is new, removes what is gone, merges, mends.
- `conditions.py`: filters as SQL conditions.
- `tail.py`: lines that are not in the index yet.
- `view.py`: the statements that ask the index.
- `index.py`: pages, single records and the summary.
- `questions.py`: questions and answers as frames on a pipe.
- `process.py`: the process that answers them.
- `asker.py`: starts and ends that process, and asks it.
- `reader.py`, `sink.py`: the index for the audit page (`ITrailReader`), and for the carrier that fills it.
- `build_columns.py`: makes both from the settings.

`IndexUpkeep.run` and `ColumnIndex` are plain functions without a reactor: any process may call them that can afford
a crash of native code. `record/sinks/build_sinks.py`, `service/service.py` and `record/commands/` import this folder.
"""
