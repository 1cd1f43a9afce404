"""The state folder as a whole: its lock, its backup and its restore.

In reading order:

- ``lock.py``: only one proxy uses a state folder at a time.
- ``manifest.py``: the manifest of a backup, and helpers for its files.
- ``backup.py``: copies the state folder of a running proxy.
- ``restore.py``: checks a backup, and restores it.
- ``cli.py``: the command ``hospproxy-state``.

``tap.py``, ``service/service.py`` and the supervisor use ``lock.py``; the rest is used only by the command.
"""
