"""The whole service: builds all parts, connects them, starts and stops them.

* ``chain.py``: the processors in order, and what a request passes. ``chain_parts.py`` builds them.
* ``assembly.py``: builds all parts, stage by stage; nothing below knows all of them.
* ``service.py``: starts and stops what was built. ``worker_identity.py``: which of several workers a process is.
* ``service_reload.py``, ``parts_reload.py``: apply changed options while the service runs.

Only ``replacement/``, ``workers/`` and ``tap.py`` import this folder.
"""
