"""Another version takes the place of the running one, without a failed request.

The running process starts its successor and lends it the listening sockets and the lock of the state folder. The
successor reads everything that it may read, and is prepared. Then the running process begins no request, finishes
those that it has begun, and closes the state folder; the successor opens it and serves. Requests that still come on
connections of the old process are relayed to the new one, until those connections have ended.

* ``messages.py``: the messages between the two processes.
* ``relayed.py``: requests and responses as messages.
* ``relay.py``: the old process: requests wait, and then go to the process that has the state folder.
* ``relay_server.py``: the new process: responds to them.
* ``successor_process.py``: the new process, as the old one sees it.
* ``incoming_relay.py``: a socket on which a worker of the old proxy relays.
* ``hold.py``: in each old process: requests wait, the state folder is closed, or opened again.
* ``replacement.py``: the steps of one replacement, and the way back from each.
* ``owned_proxy.py``: the proxy of the old process: held, closed, opened again, given up.
* ``successor.py``: the steps of the new process.
* ``inherited.py``: what it inherits: the lock, sockets, and how it learns that the old proxy is gone.
* ``formats.py``: which formats of the state folder a version reads.
* ``launch.py``: the command that starts a successor.
* ``replaceable_proxy.py``: the service that ``tap.py`` starts.

``docs/adr/0046-replaced-while-it-serves.md`` says why.
"""
