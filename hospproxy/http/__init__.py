"""HTTP as the rest of the proxy sees it: requests and responses as values, errors, dates, long bodies.

Nothing here knows HOSP, the contract or a socket of a client. In reading order:

* ``messages.py``: ``Request``, ``Response``, ``Headers`` and who made a request.
* ``errors.py``: the errors that become responses, each with its status and outcome.
* ``repeat.py``: how an equal request is answered from memory again without running the chain.
* ``content_coding.py``: which coding a client accepts, and entity tags of coded content.
* ``dates.py``, ``retry_after.py``: dates in fields, and when a client may ask again.
* ``json_lists.py``, ``long_text.py``: long JSON lists and long texts of large bodies, without many times their memory.
* ``late_responses.py``: responses that outlast their client, and who learns from them.
* ``outgoing.py``: HTTP requests that we send to receivers of records and alerts.

Every folder may import this one; it imports none.
"""
