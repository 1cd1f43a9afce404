"""Replace the running proxy again and again, under clients that write at the worst moment.

* ``site.py``: a stand-in, a proxy, and two versions of it that take turns.
* ``clients.py``: clients that write without a pause, and idle ones that write while the state folder changes hands.
* ``verdict.py``: what clients were told, compared with HOSP's journal and with the audit trail.
* ``__main__.py``: the rounds, and what must be true after them.
"""
