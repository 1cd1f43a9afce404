"""The gate: limits the attempts in flight at HOSP, queues the rest briefly, and refuses them while HOSP is down.

The rules are pure (no I/O, and time is a parameter). In reading order:

* ``limit.py``: how many attempts may be in flight (additive increase, multiplicative decrease).
* ``surge_share.py``: which requests are the surplus of a surge.
* ``queue.py``: which request gets the next free slot, which waits, which is refused.
* ``estimate.py``: how long a wait for a slot takes, and whether a silence of HOSP is unusual.
* ``signs.py``: what the outcome of one attempt says about HOSP.
* ``breaker.py``: the circuit breaker: is HOSP up at all?

The rest uses them:

* ``rules.py``: the settings, constants and error texts of the gate.
* ``slots.py``: the interface through which the gate learns how many slots belong to this process.
* ``redis/``: the slots of several workers and machines, divided through Redis.
* ``gate.py``: the processor ``outward.gate`` itself.
* ``probe.py``: sends probes while the breaker is open.
* ``stall.py``: notices early that HOSP may have stalled.
* ``in_flight_file.py``: the file of attempts in flight, for the process after a kill.
* ``build_gate.py``: builds the gate, its slots and its prober from the settings.

``service/assembly.py`` builds the gate; ``outward`` imports ``rules.py``.
The pure modules import only ``errors``, ``messages`` and each other.
"""
