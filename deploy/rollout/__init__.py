"""Brings a new version of hospproxy into production step by step, and takes it back by itself if it is worse.

Start it as ``python deploy/rollout run PLAN --old VERSION --new VERSION``. It needs Python 3.11 and nothing else.
docs/rollout.md is for operators; docs/adr/0047-a-canary-beside-a-baseline.md says why it works this way.

In reading order:

* ``command.py``: the command line and its exit codes.
* ``plan.py``, ``plan_table.py``: the plan file, read and checked, all errors reported at once.
* ``rollout.py``: the stages, in order; each can be repeated.
* ``watch.py``: reads figures of canary and baseline until there is a verdict.
* ``judgement.py``: the rules by which a canary fails, passes, or is not decided yet.
* ``exact_tests.py``: the tests of hypotheses that these rules use.
* ``figures.py``: what is counted by one instance, read from ``/metrics``.
* ``smoke.py``: requests with expectations.
* ``promotion.py``: replaces the production instances one after the other, or brings the old version back.
* ``splitter.py``: sets how much traffic each server gets: HAProxy, or a command of yours.
* ``progress.py``: the journal of a rollout on disk, the lock, and requests to abort.
* ``system.py``: processes, commands, HTTP and clocks; the rest gets them handed in.

The rules are pure. Everything that touches the system goes through ``System``, which tests replace.
"""
