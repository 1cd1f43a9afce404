"""The status page: how HOSP and the proxy are, now and over the last week; and surges, noticed as they begin.

In reading order:

- ``counts.py``: what the page and the rules need of the metrics of all workers, at one moment.
- ``history.py``: buckets of the last five minutes, hour, day and week, in bounded memory.
- ``figures.py``: success rates, percentiles and series of a window of the history.
- ``surges.py``: rules that notice a sudden change of traffic, errors, latency or refusals.
- ``machines.py``: exchanges figures with the other machines through Redis.
- ``together.py``: sums what all machines have counted, and notices surges in the sum.
- ``changes.py``: log lines for changes of state.
- ``recorder.py``: reads the metrics every five seconds, keeps the history on disk, and reports surges.
- ``document.py``: builds ``/status.json``.
- ``status_page.py``: serves the page and its files.
- ``build_status.py``: makes all of it from the settings.

Rules are pure: they take counts and a time. Nothing here runs within a request.
"""
