"""Turn connections into ``Request`` objects, and ``Response`` objects into bytes on the wire.

Everything here happens before the chain sees a request, or after the chain has returned its response: TCP and TLS
listeners, HTTP/1.1 parsing, limits on what a client may send and how long it may take, memory accounting, and closing
connections. Policy about routes, users and the upstream belongs elsewhere.

In reading order:

* ``limits.py``: rules that use several limits of ``options/arrival_section.py``, and limits that are no options.
* ``listener_context.py``: the state that all connections of the process share; it is handed to each listener's factory.
  It counts connections, says who the client is, and decides whether a parsed request may enter the chain.
* ``listeners.py``: opens the ports that the options describe; reloads certificates; stops listening.
* ``socket_activation.py``: listening sockets that systemd hands over.
* ``client_sockets.py``: polls the sockets of all clients together, and sends at once.
* ``connection_state.py``: the states of a connection, and the table of transitions. Pure.
* ``factory.py``, ``http1.py``: one protocol instance per connection; it does the I/O and tells the table what happened.
* ``supervised.py``, ``client_deadline.py``: what the sweep and the shutdown may do to a connection, and its deadline.
* ``shortcuts.py``: answers a head that was seen before, without parsing it (docs/adr/0034).
* ``null_meter.py``: counts nothing, for a connection without metrics.
* ``sampled_shortcuts.py``: leaves requests that are traced to the chain (docs/adr/0049).
* ``line.py``, ``head.py``, ``fields.py``, ``authority.py``: parse and judge a request head. Pure functions.
* ``body.py``, ``deferred_body.py``: decode and count the body; hold it back until a processor asks for it.
* ``plain.py``: the rule for requests on a listener without TLS.
* ``answer.py``, ``serializer.py``, ``streamed_response.py``, ``flow_control.py``: serialise a response and send it no
  faster than the client reads.
* ``budget.py``, ``limit_log.py``, ``descriptors.py``: the memory budget, limits that were hit, and file descriptors.
* ``drain.py``, ``lingering_close.py``: all open connections, how one is closed, and how all are drained at shutdown.
* ``front/``: the PROXY protocol, X-Forwarded-For and Forwarded, from proxies in front of this one.
* ``tls/``: TLS contexts, certificate files and their renewal, handshake limits.

``service/service.py`` builds and runs this package. Other packages import only values and pure functions from it
(addresses, authorities, limits, certificates, ``place_of``), never connections.
"""
