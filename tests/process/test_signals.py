"""What the process does on a signal."""

from __future__ import annotations

import signal
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process import signals


class StopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.handlers: dict[int, object] = {}
        self.patch(signal, "signal", self.handlers.__setitem__)
        self.patch(signals, "_stopping", [])
        self.reactor = mock.Mock()
        end_within = mock.patch("hospproxy.process.signals.end_within")
        self.end_within = end_within.start()
        self.addCleanup(end_within.stop)
        signals.install(self.reactor, lambda: None, 40.0)

    def test_from_the_first_on_the_process_has_a_last_moment(self) -> None:
        """Also if the reactor's thread hangs and never handles the signal."""
        self.handlers[signal.SIGTERM](signal.SIGTERM, None)  # type: ignore[operator]
        self.end_within.assert_called_once_with(40.0)
        self.reactor.callFromThread.assert_called_once_with(signals.stop_once, self.reactor)

    def test_a_second_one_does_not_put_it_off(self) -> None:
        signals.install(self.reactor, lambda: None, 40.0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            self.handlers[number](number, None)  # type: ignore[operator]
        self.end_within.assert_called_once_with(40.0)

    def test_reading_certificates_again_ends_nothing(self) -> None:
        self.handlers[signal.SIGHUP](signal.SIGHUP, None)  # type: ignore[operator]
        self.end_within.assert_not_called()
