"""Chaos: the proxy's promises tried with everything that goes wrong, and counted from HOSP's own journal.

``python -m benchmarks.chaos`` runs the scenarios, one module each. places.py starts and kills the processes, people.py
has the clients and remembers what they were told, judging.py (pure) holds that against the journal, table.py prints.
"""
