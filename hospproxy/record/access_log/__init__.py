"""The access log: one line for each request, in a format that the tools of others read (docs/access-logs.md).

The courier makes the lines from the journal's records, so a request costs nothing more. docs/adr/0058 says why.

Modules in reading order:

- `entry.py`: what a line says, taken from a record.
- `escaping.py`: makes any text safe in a line.
- `formats.py`: an entry as a line: ALB, combined, JSON.
- `file_names.py`: names of files and keys of objects, as Elastic Load Balancing gives them.
- `position.py`: how far the log has come, in which file; kept beside it.
- `log_folder.py`: the file that grows, and how it is closed. Blocks.
- `closed_files.py`: closed files: which are to be shipped, which to be removed. Blocks.
- `sink.py`: the sink that the journal's carrier feeds.
- `upkeep.py`: ships closed files to a bucket, and bounds them.
- `build_access_log.py`: builds it from the settings.

`courier/delivery.py` starts and stops it. ``hospproxy-report`` reads what it writes.
"""
