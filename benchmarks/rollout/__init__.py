"""Rollouts of good and bad versions on this machine: proxies, Redis, stand-ins and HAProxy, all of them real.

* ``__main__.py``: the trial.
* ``site.py``: the processes around the rollout, and the plan.
* ``version.py``: starts hospproxy as a version that is said to be another one, with or without a defect.
* ``production.py``: starts, stops and replaces a production instance, as an operator's command does.
* ``clients.py``: the traffic.
"""
