from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.channel import MOST_BYTES, Channel, WorkerLogLine
from hospproxy.watch.merge import MetricFamily, MetricSeries, Overview, Snapshot
from hospproxy.watch.reload_page import ReloadOutcome
from hospproxy.workers.messages import (
    FileReloadQuestion,
    FileReloadReply,
    FromWorker,
    GatherQuestion,
    GatherReply,
    ReloadWorker,
    SnapshotQuestion,
    SnapshotReply,
    StartWorker,
    StopWorker,
    ToWorker,
    WorkerReady,
)

SNAPSHOT = Snapshot(
    [MetricFamily("a", "counter", "h", [MetricSeries("a_total", {"x": "y"}, 1.5)])], {"journal": "full"}
)


class Line(StringTransportWithDisconnection):
    """A connection that keeps the sent bytes."""

    def abortConnection(self) -> None:
        self.loseConnection()


class Channels(SynchronousTestCase):
    def setUp(self) -> None:
        self.got: list[Any] = []
        self.lost = 0

    def make(self, kinds: Any) -> tuple[Channel, Line]:
        def lose() -> None:
            self.lost += 1

        channel, line = Channel(kinds, self.got.append, lose), Line()
        line.protocol = channel
        channel.makeConnection(line)
        return channel, line

    def test_each_message_arrives_as_it_was(self) -> None:
        overview = Overview({0: SNAPSHOT}, {1: "gone"}, SNAPSHOT.families, {0: 1}, {1: 2})
        for kinds, messages in (
            (
                ToWorker,
                [
                    StartWorker(1, b"\x00", 2, 1),
                    ReloadWorker(),
                    StopWorker(),
                    SnapshotQuestion(3),
                    GatherReply(4, overview),
                    FileReloadReply(8, ReloadOutcome(True, ["x"], [{"key": "a.b", "live": True}])),
                ],
            ),
            (
                FromWorker,
                [
                    WorkerReady(),
                    WorkerLogLine("info", "a.b", "x\ny"),
                    SnapshotReply(5, SNAPSHOT),
                    GatherQuestion(6, SNAPSHOT),
                    FileReloadQuestion(8),
                ],
            ),
        ):
            self.got.clear()
            sender, out = self.make(kinds)
            receiver, _ = self.make(kinds)
            for message in messages:
                sender.say(message)
            for byte in out.value():
                receiver.dataReceived(bytes([byte]))
            self.assertEqual(self.got, messages)

    def test_nonsense_ends_it(self) -> None:
        for sent in (b"\x00\x00\x00\x01\xff", (MOST_BYTES + 1).to_bytes(4, "big"), b"\x00\x00\x00\x00"):
            channel, line = self.make(FromWorker)
            channel.dataReceived(sent)
            self.assertFalse(line.connected)
            self.assertFalse(channel.open)
        self.assertEqual((self.got, self.lost), ([], 3))

    def test_what_is_for_the_other_side_is_nonsense(self) -> None:
        sender, out = self.make(ToWorker)
        receiver, line = self.make(FromWorker)
        sender.say(StopWorker())
        receiver.dataReceived(out.value())
        self.assertFalse(line.connected)

    def test_nothing_is_sent_to_nobody(self) -> None:
        channel, line = self.make(FromWorker)
        line.loseConnection()
        channel.say(WorkerReady())
        self.assertEqual((line.value(), self.lost), (b"", 1))

    def test_who_closes_it_has_not_lost_it(self) -> None:
        channel, _ = self.make(FromWorker)
        self.successResultOf(channel.close())
        self.successResultOf(channel.close())
        self.assertEqual(self.lost, 0)

    def test_it_says_when_it_is_full(self) -> None:
        channel, line = self.make(FromWorker)
        line.producer.pauseProducing()  # type: ignore[union-attr]
        self.assertTrue(channel.full)
        line.producer.resumeProducing()  # type: ignore[union-attr]
        self.assertFalse(channel.full)

    def test_settings_are_not_shown(self) -> None:
        self.assertNotIn("secret", repr(StartWorker(0, b"secret", 1, 1)))
