"""One request and what becomes of it, as a value that the processors hand on.

* ``exchange.py``: ``Exchange`` and its stages; the type says how far a request has come.
* ``words.py``: the closed sets of words in records and metrics.
* ``answers.py``: responses that the proxy makes itself, errors above all.
* ``call_ids.py``: the patient and record ids of a call.
* ``trace_context.py``, ``spans.py``: the fields and the spans of a trace.

It imports ``http/`` and ``contract/``.
"""
