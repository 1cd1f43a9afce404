"""Rollouts of good and bad versions on this machine: proxies, Redis, stand-ins and HAProxy, all of them real.

* ``__main__.py``: the trial.
* ``site.py``: the processes around the rollout, and the plan.
* ``version.py``: installed versions, with or without a defect.
* ``production.py``: starts and ends the production instances.
* ``clients.py``: the traffic.
"""
