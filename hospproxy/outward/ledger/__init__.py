"""The ledger: writes in progress and their outcomes, on disk. One file per machine, shared by its processes.

In reading order:

* ``format.py``: the tables, their version, and what happens to a damaged or newer file.
* ``store.py``: the SQL statements. They block.
* ``ledger.py``: the asynchronous interface. It groups statements into transactions in one thread.
* ``owner.py``: the file lock that tells whether the owner of an entry is still alive.
* ``rows.py``: a call and a response as bytes.

``outward/writes`` keeps its entries here, encrypted by ``hospproxy/keys/encryption.py``. ``sharing`` uses
``rows.py``, ``gate`` and ``sharing`` use ``owner.py``, ``service/service.py`` and ``state`` use ``format.py``. The
ledger imports none of these.
"""
