"""Run several worker processes on one machine that accept from the same listening sockets.

* ``supervisor.py``: the parent: binds the sockets, starts, replaces and stops workers.
* ``snapshots.py``: collects the metrics of all workers.
* ``listening_sockets.py``: opens the listening sockets that all workers share.
* ``worker_slot.py``: one slot in the supervisor: its current process, the channel to it, and when to replace it.
* ``workers_reload.py``: applies changed options to all workers, or to none.
* ``messages.py``: the messages between supervisor and worker; a ``Channel`` carries them.
* ``child.py``: what a worker process runs.
* ``worker_proxy.py``: the proxy of a worker: started, or built to take over; held, closed, opened again, left.
* ``replaceable_workers.py``: in the old supervisor: another version takes the place of all workers.
* ``workers_heir.py``: in the new supervisor: it takes over, with workers that are prepared before.

``tap.py`` starts the supervisor. A child tells ``service.build`` its place among the workers
(``hospproxy/service/worker_identity.py``). No other package imports this one.
"""
