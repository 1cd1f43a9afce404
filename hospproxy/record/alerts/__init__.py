"""Alerts: rules that look at each audit record and report unusual behaviour.

Modules in reading order:

- `facts.py`: what the rules read from a record.
- `alert.py`: an alert, and the record that it becomes.
- `bounded.py`: counting within a window, and limiting repeated alerts, in bounded memory.
- `count_rules.py`: rules that count within a window, and the `Rule` interface.
- `local_time.py`: hours and days in a time zone.
- `hour_rules.py`: rules about quiet hours and about hours that are unusual for a person.
- `usual_rule.py`: the rule about more patients than usual for a person.
- `learnt.py`: saves what those rules have learnt.
- `spread.py`: what machines tell each other of their counts.
- `noticer.py`: runs the rules on each record; writes records, log lines and metrics for alerts.
- `follower.py`: the sink that shows the journal's records to the rules.
- `system_alert.py`: alerts about surges, which no record triggers.
- `webhook.py`: the sink that posts alerts.
- `build_alerts.py`: makes rules and noticer from the settings.

`courier/delivery.py` imports `build_alerts.py`, and `record/sinks/build_sinks.py` imports `webhook.py`. Rules are pure:
they take facts and a time, and do no I/O.
"""
