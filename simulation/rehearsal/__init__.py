"""Forecasts what changed options would do: replays the journal of a past day in the simulated hospital.

Modules, in reading order:

* ``visits.py``: the requests of a day, as the audit journal recorded them.
* ``day_model.py``: how HOSP behaved on that day: response times, failures, outages.
* ``staging.py``: an operator's options, changed so that they run in the simulation; the records that HOSP needs.
* ``replay.py``: runs the day once, in virtual time; its result is again a journal.
* ``figures.py``: what operators compare: success, refusals, cache, HOSP's load, latency.
* ``__main__.py``: the command. It prints the recorded day and the rehearsed ones side by side.

It needs only journals and options files. The journal holds neither bodies nor passwords, so both are invented.
"""
