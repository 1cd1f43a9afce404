"""The ledger: writes in progress and their outcomes, on disk, one a machine, shared by its processes.

format.py has the tables and their versions, sealing.py the encryption, owner.py the lock that tells a dead owner,
rows.py what an entry holds, store.py the statements (they block), ledger.py the side that the reactor sees.
"""
