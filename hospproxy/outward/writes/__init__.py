"""The one fate of a write.

fate.py sends it and decides; finding.py has the rules (pure), looking.py asks HOSP, sightings.py and presence.py learn
from every answer that goes by, turns.py lets equal writes go one at a time.
"""
