"""The contract: routes, schemas and rules of HOSP, read from one OpenAPI document.

* ``contract.py``: ``Contract`` and ``Operation``, what the other folders ask.
* ``document.py``: reads and checks the document; ``hosp.openapi.yaml`` beside it is the one for HOSP.
* ``schema_walk.py``: checks a value by a schema, bounded in time and memory.
* ``query.py``, ``answers.py``, ``permissions.py``: its parts about parameters, responses and permissions.
* ``publication.py``, ``page.py``: the contract as clients may read it; ``contract.html`` is the page.
* ``identity_response.py``: the caller's identity in a response of HOSP, by a rule of the contract.

It imports ``http/`` only.
"""
