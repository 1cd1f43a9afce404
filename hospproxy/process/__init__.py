"""What a process needs of its machine: time, threads, files, signals, other processes.

* ``host.py``: what is taken from the system, in one place, so that a simulation can hand in another; ``clocks.py``.
* ``worker.py``, ``slices.py``, ``background.py``, ``single_flight.py``: blocking work in a thread, long work in slices,
  work that nothing waits for, equal work that is done once. ``hook.py``, ``iterators.py``: small helpers for them.
* ``folders.py``, ``sqlite_file.py``: durable folders and files.
* ``shutdown.py``, ``signals.py``, ``privileges.py``, ``service_manager.py``: stop, signals, privileges that the
  process gives up, and what systemd is told. ``collector.py``: when garbage is collected.
* ``child_process.py``, ``forked_process.py``, ``channel.py``: a process that this one starts or forks, and messages
  between the two.
* ``client_endpoint.py``: connections that we open, with TLS.

Every folder above ``interfaces.py`` may import this one.
"""
