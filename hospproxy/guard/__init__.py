"""Decide whether a request may pass: contract, credentials, ownership and permissions.

Each processor here may refuse a request before anything is sent to the upstream. What passes is a ``Call``: a request
that was rebuilt from its parsed parts.

In reading order (the order in the chain):

* ``origin_check.py``: require the gateway's secret and HTTPS.
* ``admission/``: slow down password guessing and limit request rates.
* ``published_contract.py``: serve the contract to clients.
* ``cross_origin.py``: let pages of other origins use the proxy (CORS).
* ``foreign_writes.py``: refuse their writes while CORS is off.
* ``validation.py``: turn a ``Request`` into a ``Call``. ``paths.py`` parses paths and queries, ``documents.py``
  parses JSON bodies; both are pure.
* ``identity.py``: ask the upstream who is calling. ``credentials.py`` parses Basic credentials, and is pure.
* ``bodies.py``, ``large_bodies.py``: read and judge a large body once the caller is known.
* ``ownership.py``: set or check the author of a record that is written.
* ``permissions.py``, ``knowledge.py``: enforce or report the contract's permission rules; remember the record fields
  that those rules compare.
* ``build_guard.py``: builds the processors that need more than one step, from the settings.

``service/assembly.py`` builds the processors; nothing else imports them. Other packages may import the pure modules
(``credentials``, ``paths``, ``documents``, ``large_bodies``).
"""
