"""The second level of the cache in Redis, which all workers and machines share (docs/adr/0024).

* ``level.py``: looks up, stores and invalidates sealed cache entries. It implements ``memory/second_level.py``.
* ``entry_codec.py``: cache entries as bytes, and checks of what a lookup returned. Pure.

``memory/build_memory.py`` builds it.
"""
