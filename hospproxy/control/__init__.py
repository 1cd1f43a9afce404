"""``hospproxyctl``: commands that an operator gives to the running proxy, through a socket in the state folder.

The process that owns the state folder serves the socket: the only process, or the supervisor of several workers. A
command is one module: what it takes on the command line, what the running proxy does, and what is printed.

In reading order:

- ``messages.py``: the JSON lines between ``hospproxyctl`` and the proxy, and their limits.
- ``options_history.py``, ``options_reload.py``: the options in force, and the way to others.
- ``owner.py``: what a command may ask of the running proxy.
- ``command.py``: what every command consists of.
- ``version_command.py``, ``config_command.py``, ``diff_command.py``, ``reload_command.py``, ``undo_command.py``,
  ``log_command.py``: the commands.
- ``ran_versions.py``: which versions have served from a state folder.
- ``replace_commands.py``: the commands that let another version take over.
- ``rehearse_command.py``: a command that needs no running proxy.
- ``commands.py``: the table of all commands.
- ``control_socket.py``: the socket: who may connect.
- ``control_server.py``: one connection: reads the command, runs it, responds.
- ``owner_process.py``: the process that owns the state folder: its options, and the socket for commands.
- ``client.py``: the other end, in ``hospproxyctl``.
- ``cli.py``: the command line ``hospproxyctl``.
"""
