"""The audit trail on disk: hash-chained, signed JSON Lines files, one journal per process.

Modules in reading order:

- `names.py`: file names of a journal, parsed and made.
- `record_line.py`: one audit record as one safe line of JSON.
- `alike.py`: what was read of a line, for lines that differ only in time, id and chain.
- `hash_chain.py`: sequence number, previous hash and signature at the end of each line.
- `marks.py`: the records that the journal writes about itself (begin, digest, tombstone).
- `files.py`: the file system layer: locks, new files, the reserve for a full disk.
- `scan.py`: reads one file as far as its chain holds.
- `recovery.py`: finds the file that a restarted journal continues.
- `current.py`: state of the file being written, and the next group for it.
- `keeper.py`: appends groups of chained lines, rotates files, uses the reserve. Blocks.
- `uring.py`: appends through Linux io_uring, without a Python thread.
- `group_commit.py`: gives each group to io_uring or to the writing thread.
- `ends.py`: how far each journal is on disk, for the processes that follow it.
- `journal.py`: queues records and commits them in groups; what the rest of the proxy calls.
- `null_journal.py`: stands in its place if no audit records are written.
- `follower.py`: how sinks read committed records from a saved position.
- `packed.py`: the compressed form of a file, readable from any offset.
- `upkeep.py`: compresses closed files and removes those past their retention.
- `build_journal.py`: builds a journal from the settings.
- `identity.py`: the trail's id, since two machines may both have a journal w0.
- `differences.py`, `verify.py`: the auditor's check of chain and signatures.

`service/assembly.py` and `service/service.py` open the journal. `record/`, `state/` (backup and restore),
`process/host.py` and `watch/audit_page/` import single modules. Nothing here imports sinks, the index or the page.
"""
