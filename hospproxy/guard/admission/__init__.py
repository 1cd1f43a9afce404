"""Limit what one client may do: password guesses are delayed, request rates are limited.

* ``processor.py``: the processor; decides whether a request passes, waits or gets a 429.
* ``claim_keys.py``: HMAC keys for the address, account and credentials of a request. Pure.
* ``key_limits.py``: delays after failed log-ins, token buckets for request rates, and the bounded table of both. Pure.
* ``delay_queue.py``: requests that are being delayed, with a limit per address and account.
* ``refusals.py``: credentials that HOSP refused a moment ago.
* ``peer_reports.py``: shares failures, token use and accepted credentials with the other workers.

``guard/build_guard.py`` and ``service/assembly.py`` build these; ``guard/identity.py`` uses ``refusals.py``.
"""
