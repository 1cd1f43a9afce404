"""Delivers audit records to sinks: syslog, an HTTP server, an S3 bucket, the database, plugins.

A sink is the destination; its class is called a writer in the code, in `IAuditWriter` and in the options. Each
sink has its own carrier, which reads the journal's files from a saved position, so a slow or failing sink holds
up neither requests nor other sinks. Delivery is at least once, in order per journal.

Modules in reading order:

- `carrier.py`: the carrier: its loop, retries with backoff, metrics.
- `pace.py`: how fast a carrier may go while requests are being served.
- `journals.py`: which journals a sink reads, including those that ended processes left.
- `feeds.py`: the next batch or file after a position.
- `positions.py`: the saved position of each sink in each journal.
- `syslog.py`, `syslog_connection.py`, `syslog_message.py`, `overlap.py`: the syslog sink (RFC 5424).
- `signed_post.py`, `http.py`: signed POSTs, and the HTTP sink.
- `bucket.py`: the S3 sink, one object per closed file.
- `build_sinks.py`: makes all sinks and carriers from the settings; the only module that knows every kind.

`service/assembly.py` and `service/service.py` use `build_sinks.py`; `state/` uses `positions.py`; `record/alerts/`
posts alerts through `signed_post.py`. Plugins implement the interfaces in `interfaces.py` (docs/writers.md).
"""
