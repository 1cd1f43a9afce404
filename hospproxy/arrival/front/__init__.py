"""Work out who the client is when the request comes through a proxy or load balancer in front of this one.

* ``proxy_header.py``: parses the header of the PROXY protocol, versions 1 and 2. Pure.
* ``proxy_protocol.py``: the connection that reads such a header and then hands over to TLS or HTTP.
* ``forwarded.py``: parses ``Forwarded`` (RFC 7239). Pure.
* ``trust.py``: decides which proxies are believed, and takes the client's address and scheme from them.
* ``option_checks.py``: checks of [front], [origin], [cors] and PROXY headers in the options file. Pure.

The rest of ``arrival`` uses this package. Others import the address functions of ``trust.py`` only.
"""
