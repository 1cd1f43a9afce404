"""State that workers and machines share through one Redis. A process without Redis runs the same code with ``ALONE``.

In reading order:

- ``kinds.py``: the interfaces, and the implementation for a process that is alone.
- ``news.py``: the messages that processes send each other.
- ``replies.py``, ``connection.py``, ``link.py``: parse RESP, open connections, keep the link to Redis up.
- ``scripting.py``, ``scripts/``: load the Lua scripts; the scripts themselves, each atomic in Redis.
- ``vault.py``, ``naming.py``: encrypt values; make and learn the names of keys.
- ``lease.py``, ``members.py``, ``outbox.py``, ``generations.py``, ``values.py``, ``notes.py``: pure rules and values.
- ``arguments.py``, ``hearing.py``, ``waiting.py``, ``siblings.py``, ``showing.py``: the parts of ``shared.py``.
- ``shared.py``: one worker among the others: heartbeats, lease, log (docs/adr/0024).
- ``level.py``: the cache level in Redis behind each process's memory.
- ``bases.py``, ``places.py``: slots at HOSP, divided among the workers (docs/adr/0025).
- ``claiming.py``, ``seeing.py``, ``saying.py``, ``claims.py``: writes across workers and machines (docs/adr/0026).
- ``building.py``: builds these parts from the settings.

``building.py`` and the building modules of ``memory/`` and ``outward/gate/`` build these parts. All other folders use
only the interfaces in ``kinds.py`` and the messages in ``news.py``.
"""
