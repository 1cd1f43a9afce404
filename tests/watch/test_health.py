from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.health import Health


class Ready(SynchronousTestCase):
    def test_without_a_reason_it_is(self) -> None:
        self.assertEqual(Health({"journal": lambda: None}).reasons(), {})

    def test_each_check_that_fails_is_named(self) -> None:
        def broken() -> str | None:
            raise ValueError("a secret")

        health = Health({"journal": lambda: "full", "listeners": lambda: None})
        health.checks["drain"] = broken
        self.assertEqual(health.reasons(), {"journal": "full", "drain": "the check failed: ValueError"})
