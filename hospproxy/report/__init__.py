"""``hospproxy-report``: figures from access logs of a load balancer, of CloudFront, or from the audit journal.

A program of its own: the proxy imports nothing of it. DuckDB reads the logs in the command's process; its native code
may crash there without harm. docs/report.md is for users, docs/adr/0051 says why it is built so.

Modules in reading order:

- ``log_files.py``: finds the files, and recognises the format of each.
- ``bucket.py``: downloads the files of an S3-compatible bucket.
- ``formats.py``: what each format calls the time, the status and the other values, in SQL.
- ``requests_table.py``: reads the files into one table; counts lines that cannot be read.
- ``figures.py``: the values of a report.
- ``measure.py``: computes them from the table.
- ``surges.py``: the minutes far above the usual.
- ``tables.py``: the tables as texts.
- ``comparison.py``: what changed between two reports, in three sentences and side by side.
- ``documents.py``: a report as JSON and as CSV.
- ``bars.py``, ``terminal.py``: a report as text, with bars.
- ``charts.py``, ``page.py`` and ``templates/``: a report as one HTML file, with charts.
- ``cli.py``: the command.
"""
