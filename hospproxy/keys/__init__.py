"""Keys, secrets and passwords, and the files that hold them.

* ``secrets.py``: reads secret files, and refuses those that others can read.
* ``mac.py``: HMACs that are made for every request.
* ``encryption.py``: encrypts what is stored on disk or in Redis, under the master key.
* ``signing_key.py``: the key that signs the audit trail.
* ``origin_secrets.py``: the secrets by which a gateway shows that a request came through it.
* ``audit_users.py``: the users of the audit page and their password hashes.

It imports ``process/`` only.
"""
