"""State that workers and machines share through one Redis. A process without Redis runs the same code with ``ALONE``.

In reading order:

- ``kinds.py``: the interfaces, and the implementation for a process that is alone.
- ``news.py``: the messages that processes send each other.
- ``replies.py``, ``connection.py``, ``link.py``: parse RESP, open connections, keep the link to Redis up.
- ``lua_scripts.py``, ``scripts/``: load the Lua scripts; the scripts themselves, each atomic in Redis.
- ``vault.py``, ``learnt_names.py``: encrypt values; make and learn the names of keys.
- ``tags.py``: the names of what a cache entry depends on, for one process and for all.
- ``lease.py``, ``members.py``, ``outbox.py``, ``generations.py``: pure rules and values.
- ``arguments.py``, ``incoming_news.py``, ``lease_wait.py``, ``siblings.py``, ``status.py``: the parts of ``member.py``.
- ``member.py``: one worker among the others: heartbeats, lease, log (docs/adr/0024).
- ``first_machine.py``: which machine raises an alert.
- ``build_sharing.py``: builds it from the settings, and lets it join the others.

What is shared lies beside what it serves: cache entries in ``memory/redis/``, slots at HOSP in
``outward/gate/redis/``, writes in ``outward/writes/redis/``.
This folder imports none of those; they use the interfaces in ``kinds.py`` and the messages in ``news.py``.
"""
