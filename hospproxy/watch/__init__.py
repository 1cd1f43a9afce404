"""What operators and auditors look at: health, metrics, the status page and the audit page.

In reading order:

- ``health.py``: liveness and readiness.
- ``table.py``: the definition of every metric.
- ``metrics.py``: the metrics of one process; ``cells.py``: counts in plain numbers what happens in every request.
- ``requests.py``: counts every client request.
- ``merge.py``: merges the metrics and health of several workers.
- ``admin.py``: the admin listener, which serves all of this; ``admin_access.py``: who may read what;
  ``build_admin.py`` builds both.
- ``reload_page.py``: applies the edited options file.
- ``status/``: the status page, its history, and surges.
- ``audit_page/``: the audit page.

``service/assembly.py`` and ``service/service.py`` build these parts; ``workers/`` uses ``merge.py``, and
``service/chain.py`` uses ``requests.py``. Other modules count through ``IMeter`` in ``interfaces.py``.
"""
