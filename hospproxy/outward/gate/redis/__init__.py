"""The slots at HOSP, divided among workers and machines through Redis (docs/adr/0025).

* ``shared_slots.py``: slots that this worker owns, and their exchange. It implements ``outward/gate/slots.py``.
* ``base_share.py``: slots that a worker may use when Redis is away for long.

``outward/gate/build_gate.py`` builds them.
"""
