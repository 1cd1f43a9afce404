"""The options file: its keys, how it is read, and its checks. Other modules import it through ``hospproxy.config``.

In reading order:

- ``addresses.py``, ``fields.py``, ``secret_fields.py``: the types of values.
- ``*_section.py``: one class for each section; ``sections.py``: the remaining sections, and ``Settings`` with all.
- ``secret_values.py``: the values of secrets, from a file, the environment or the options file.
- ``database_url.py``: the URL of the PostgreSQL database that the audit page searches.
- ``loader.py``: reads the file and the flags, and reports every error at once.
- ``source.py``: what options were made of, so that they can be read again; ``in_force.py``: options as rows of text;
  ``changes.py``: what differs between two; ``positions.py``: the line of a key.
- ``admin_checks.py``, ``compression_checks.py``, ``sharing_checks.py``, ``sink_checks.py``: combinations of keys that
  cannot work or are risky. ``contract_checks.py``: keys that are risky with the contract in force.
- ``files.py``, ``front_files.py``, ``sharing_files.py``, ``sink_files.py``: check the named files.
- ``markdown.py``: generates the tables of docs/options.md.

A part may import its own section, ``addresses.py`` or ``secret_fields.py`` directly; ``checks.py`` runs the checks.
"""
