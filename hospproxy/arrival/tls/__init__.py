"""TLS on the listeners: contexts, certificate files that are reloaded while running, and limits on handshakes.

* ``certificates.py``: reads PEM files, or makes the self-signed certificate.
* ``contexts.py``: TLS settings, one context per certificate, and the choice of a certificate by server name.
* ``hello.py``: reads the server name from a ClientHello. Pure.
* ``plain_hint.py``: the answer to plain HTTP on a TLS port.
* ``listener_tls.py``: the certificates and client CAs of one listener, and what is due on a timer (new ticket keys,
  expiry warnings).
* ``renewal.py``: checks certificate files for changes and replaces what was read from them.
* ``handshakes.py``: limits on handshakes in progress, per address and in all.
* ``transport.py``, ``open_connection.py``: the TLS side of one connection.
* ``secure.py``: HTTP/1.1 over TLS; adds HSTS and the client's certificate.
* ``option_files.py``: checks the certificate files that the options name.

``arrival/listeners.py`` puts these together.
"""
