"""What the proxy remembers: responses (the cache), accepted credentials, and screening results on their way to a note.

In reading order:

* ``cache.py``: the processor ``memory.cache``; serves reads from memory and fetches the rest.
* ``memory.py``: ties cache entries, fetches and accounts together; invalidates all three around a write.
* ``hit_again.py``: what the cache needs to answer an equal request by a shortcut.
* ``key.py``, ``staleness.py``: the key and storage place of a cache entry, and its tags.
* ``store.py``: the first level, in this process. ``second_level.py``: interface to the second level, shared through
  Redis.
* ``fills.py``: fetches in flight, one for equal requests (single-flight). ``refresh.py``: fetches in the background.
* ``storable.py``, ``directives.py``, ``stale.py``: pure rules: what may be stored, what a request asks for, when a
  stale response may be served.
* ``compression.py``: the processor ``memory.compression``. ``coders.py`` makes the codings, ``coded_contents.py`` keeps
  them beside stored responses.
* ``stall_fallback.py``: serves stored responses while HOSP is silent.
* ``record_patch.py``: puts a stored record into cached responses, for its author.
* ``accounts.py``, ``bounded.py``: whose credentials HOSP has accepted, and what has changed since.
* ``remote_invalidation.py``: applies other workers' writes.
* ``persistence.py``, ``disk.py``, ``disk_file.py``, ``rows.py``: what outlives the process, on disk.
* ``screening_notes.py``, ``note_text.py``: the processor ``memory.screening``; stores each result as a note at HOSP.
* ``redis/``: the second level in Redis.
* ``build_memory.py``: builds the memory from the settings.

``service/assembly.py`` and ``service/service.py`` build it. ``guard`` uses ``Accounts`` to find out who is calling;
``guard`` and ``outward`` parse headers with ``directives.py``.
"""
