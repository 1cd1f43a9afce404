"""Defects planted where an equal request is answered from memory without the chain."""

from __future__ import annotations

from .injection import Mutant

SHORTCUTS = (
    Mutant(
        "shortcut-past-a-write",
        "hospproxy/memory/hit_again.py",
        "found = store.get(key) if sharing.may_serve else None",
        "found = kept() if sharing.may_serve else None",
        "an equal request gets an entry that a write has struck",
        habits=("edit",),
    ),
    Mutant(
        "shortcut-without-lease",
        "hospproxy/memory/hit_again.py",
        "found = store.get(key) if sharing.may_serve else None",
        "found = store.get(key)",
        "an equal request is answered from memory without a lease",
        shapes=("workers", "machines"),
        habits=("edit",),
        seeds=120,
    ),
    Mutant(
        "shortcut-not-recorded",
        "hospproxy/record/audit.py",
        "journal.append_line(template.filled(timestamp(wall), request_id), kind, told, disclosure)",
        "told(None)",
        "an equal request leaves no audit record",
    ),
    Mutant(
        "shortcut-for-anybody",
        "hospproxy/arrival/shortcuts.py",
        "hashed.update(same)",
        'hashed.update(same.partition(b"Authorization")[0])',
        "an equal request of another person gets the first one's response",
        habits=("edit",),
    ),
)
