"""Chaos trials: break everything around the proxy, and count from HOSP's own journal whether it keeps its promises.

``python -m benchmarks.chaos`` runs the scenarios, one module each. processes.py starts and kills the processes,
clients.py has the clients and remembers what they were told, verdict.py (pure) compares that with the journal,
table.py prints.
"""
