"""hospproxy: a Twisted reverse proxy in front of HOSP, an upstream that cannot be trusted or changed.

Follow a request through the packages:

* ``arrival/``: connections in, ``Request`` objects to the chain, ``Response`` objects back to the client.
* ``guard/``: may the request pass (contract, credentials, ownership, permissions).
* ``memory/``: the cache, and screening results that are still to be stored as notes.
* ``outward/``: to the upstream and back: writes and their outcomes, retry, the gate, the connection.
* ``record/``: the audit trail of every request.
* ``copy/``: every state of each record that HOSP has shown, sealed on disk; ``hospproxy-copy``.
* ``courier/``: a process that does everything after the record is on disk: sinks, index, searches, alerts, retention.
* ``watch/``: health, metrics, the admin listener and the audit page.
* ``traces/``: which requests are traced, and how their spans reach a collector.
* ``sharing/``: state that workers and machines share in one Redis.
* ``workers/``: several worker processes on one machine.
* ``replacement/``: another version takes the place of the running one.
* ``report/``: ``hospproxy-report``, figures from access logs; a program of its own.
* ``control/``: ``hospproxyctl``, commands for the running proxy.
* ``state/``: lock, backup and restore of the state folder.
* ``options/``: reads and checks the options file.
* ``service/``: builds all parts, connects them, starts and stops them; the chain of processors.

What all of them use, from the ground up:

* ``http/``: requests, responses and errors as values.
* ``contract/``: routes, schemas and rules of HOSP, read from one OpenAPI document.
* ``exchange/``: one request and what becomes of it, as the processors hand it on.
* ``process/``: time, threads, files, signals, other processes.
* ``keys/``: keys, secrets and passwords, and the files that hold them.

Modules at this level:

* ``interfaces.py``: the interfaces between the folders, and those of plugins.
* ``own_requests.py``: how requests that the proxy makes itself go through the chain.
* ``config.py``, ``checks.py``: the settings, and what is checked before anything starts.
* ``foundations.py``: what every part gets: options, contract, clock, meter, Redis.
* ``log_output.py``: level, format and limit of the log.
* ``tap.py``: the flags of ``twistd hospproxy``.
"""
