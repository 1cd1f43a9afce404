"""Tests that need no sockets; run them with trial."""

from hypothesis import HealthCheck, settings

# How long an example takes to make or to try says how busy the machine is, and nothing of the code.
settings.register_profile("hospproxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hospproxy")
