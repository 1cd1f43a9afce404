"""Reload the options of the running proxy again and again, under clients that write at the worst moment.

* ``choices.py``: the sets of options, and what is wrong with the broken files.
* ``probes.py``: what of a set can be seen from outside.
* ``site.py``: a proxy whose options file is edited, and three ways to have it applied.
* ``__main__.py``: the rounds, and what must be true after them.
"""
