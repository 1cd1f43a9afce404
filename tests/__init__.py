"""Tests that need no sockets; run them with trial."""

from hypothesis import HealthCheck, settings

# The time to draw or run an example depends on how busy the machine is, and does not judge the code.
settings.register_profile("hospproxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hospproxy")
