"""Tests of the audit sinks, without sockets."""
