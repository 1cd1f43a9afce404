"""What workers and machines have in common, in one Redis. Without it a process is alone, and the same code runs.

``kinds.py`` has the seams and what stands there when a process is alone; ``news.py`` what processes tell each other.
``link.py`` is the way to Redis, ``vault.py`` what makes its content unreadable, ``scripts/`` what runs in it.
"""
