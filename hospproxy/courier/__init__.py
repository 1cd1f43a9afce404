"""Everything that is done with audit records once they are on disk: packing, sinks, index, searches, alerts, retention.

The journal's files are the seam. The process that serves requests writes them and does nothing else with records. One
process a machine, the courier, follows the files at low priority. Its death harms nothing: its successor continues from
saved positions.

Modules in reading order:

- `delivery.py`: builds everything that follows the journal, for any process that runs it.
- `here.py`: the courier of a process that does this work itself (the simulation, tests).
- `messages.py`: the messages between the service and the courier process.
- `process.py`: what the courier process runs.
- `meter.py`: counts in the courier process, shown by the service.
- `alert_exchange.py`: counts alerts over machines, through Redis.
- `supervised.py`: starts, watches and restarts the courier process; what the service calls.
- `told.py`: what the courier has reported last, and how far it is behind while it is silent.
- `searches.py`: searches of the audit page, sent to the courier and answered there.

`service/assembly.py` builds the courier, and `service/service.py` starts and stops it.
"""
