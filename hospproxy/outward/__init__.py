"""To HOSP and back: connections, responses, the gate, retries, and the outcome of every write.

A request passes the processors from the outside in. In reading order:

* ``writes/``: a retry of a write gets the outcome of the first; finds out what became of a write whose response was
  lost. ``ledger/`` keeps writes and their outcomes on disk.
* ``conditions.py``: processor; judges ``If-Match`` and the other conditions of a write.
* ``retry.py``: processor; repeats what may be repeated, within deadline and budget.
* ``gate/``: processor; slots, queue and circuit breaker.
* ``upstream.py``: the last processor, and the HTTP client that makes one attempt.
* ``upstream_request.py``: turns a ``Call`` into the request on the wire.
* ``attempt.py``: one attempt: how far it came, and what its failure means.
* ``connection.py``: opens connections, with TLS, sends requests on them, and keeps idle ones.
* ``answer_reader.py``, ``head.py``, ``chunks.py``: strict, bounded parsing of responses, without I/O.
* ``response_check.py``, ``large_answers.py``: check responses against the contract; large ones in slices.
* ``validators.py``: ``Date`` and ``ETag`` of a response.
* ``abandoned.py``: attempts that continue at HOSP after their client has left.

``service/assembly.py`` and ``service/service.py`` build the parts. Other folders import single modules (interfaces,
rules, encodings). No processor calls another one directly: ``service/chain.py`` connects them.
"""
