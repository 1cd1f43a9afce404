"""The simulated network: TCP as programs see it."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone

from simulation.kernel import Host, Simulation
from tests.simulation.worlds import WorldTestCase


class Talk(Protocol):
    """:ivar log: pieces and ends, as they came."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.log.append(data)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self.log.append(type(reason.value).__name__)

    @property
    def data(self) -> bytes:
        return b"".join(each for each in self.log if isinstance(each, bytes))


class Talks(Factory):
    noisy = False

    def __init__(self) -> None:
        self.made: list[Talk] = []

    def buildProtocol(self, addr: Any) -> Talk:
        self.made.append(Talk())
        return self.made[-1]


class NetworkTestCase(WorldTestCase):
    """:ivar one: at 10.0.0.1, connects; other: at 10.0.0.2, listens."""

    def setUp(self) -> None:
        super().setUp()
        self.world: Simulation = self.bare()
        self.one: Host = self.world.host("one", "10.0.0.1")
        self.other: Host = self.world.host("other", "10.0.0.2")
        self.accepted = Talks()
        TCP4ServerEndpoint(self.other.reactor, 80).listen(self.accepted)
        self.link = self.world.network.between("10.0.0.1", "10.0.0.2")

    def connect(self, **more: Any) -> list[Any]:
        """Connect; return the outcome."""
        found: list[Any] = []
        TCP4ClientEndpoint(self.one.reactor, "10.0.0.2", 80, **more).connect(Talks()).addBoth(found.append)
        return found

    def pair(self) -> tuple[Talk, Talk]:
        """Both ends."""
        found = self.connect()
        self.go(1.0)
        return found[0], self.accepted.made[-1]

    def go(self, seconds: float) -> None:
        self.world.run_until(self.world.seconds() + seconds)


class Carrying(NetworkTestCase):
    """How bytes are carried."""

    def test_the_order_is_kept(self) -> None:
        self.link.delay, self.link.split = (0.001, 5.0), 0.9
        found = self.connect()
        self.go(30.0)
        ours, theirs = found[0], self.accepted.made[-1]
        for number in range(200):
            ours.transport.write(b"%d." % number)
            self.go(0.01)
        self.go(2000.0)
        self.assertEqual(theirs.data, b"".join(b"%d." % number for number in range(200)))
        self.assertGreater(len(theirs.log), 20)

    def test_both_directions(self) -> None:
        ours, theirs = self.pair()
        theirs.transport.write(b"hello")
        ours.transport.write(b"you")
        self.go(1.0)
        self.assertEqual((ours.data, theirs.data), (b"hello", b"you"))

    def test_a_reader_that_is_paused_holds_the_writer_up(self) -> None:
        ours, theirs = self.pair()
        theirs.transport.pauseProducing()
        paused: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                paused.append("pause")

            def resumeProducing(self) -> None:
                paused.append("resume")

            def stopProducing(self) -> None:
                paused.append("stop")

        ours.transport.registerProducer(Producer(), True)
        ours.transport.write(b"x" * 1_000_000)
        self.go(10.0)
        self.assertEqual((paused, theirs.log), (["pause"], []))
        theirs.transport.resumeProducing()
        self.go(10.0)
        self.assertEqual((paused, len(theirs.data)), (["pause", "resume"], 1_000_000))


class Ending(NetworkTestCase):
    """How connections end."""

    def test_what_was_written_comes_before_the_end(self) -> None:
        ours, theirs = self.pair()
        ours.transport.write(b"x" * 1_000_000)
        ours.transport.loseConnection()
        self.go(10.0)
        self.assertEqual(
            (len(theirs.data), theirs.log[-1], ours.log), (1_000_000, "ConnectionDone", ["ConnectionDone"])
        )

    def test_an_abort_is_areset(self) -> None:
        ours, theirs = self.pair()
        ours.transport.abortConnection()
        self.go(1.0)
        self.assertEqual((ours.log, theirs.log), (["ConnectionAborted"], ["ConnectionLost"]))

    def test_what_is_sent_to_who_has_left_is_answered_with_areset(self) -> None:
        ours, theirs = self.pair()
        self.link.cut()
        ours.transport.loseConnection()
        self.go(1.0)
        theirs.transport.write(b"late")
        self.go(1.0)
        self.link.heal()
        self.go(1.0)
        self.assertEqual((ours.log, theirs.log), (["ConnectionDone"], ["ConnectionDone"]))

    def test_all_are_reset(self) -> None:
        ours, theirs = self.pair()
        self.link.reset_all()
        self.go(1.0)
        self.assertEqual((ours.log, theirs.log), (["ConnectionLost"], ["ConnectionLost"]))

    def test_what_is_cut_comes_when_it_is_healed(self) -> None:
        ours, theirs = self.pair()
        self.link.cut()
        ours.transport.write(b"a")
        self.go(60.0)
        ours.transport.write(b"b")
        self.go(60.0)
        self.assertEqual(theirs.log, [])
        self.link.heal()
        self.go(1.0)
        self.assertEqual(theirs.data, b"ab")

    def test_what_is_cut_is_lost_with_the_power_of_its_sender(self) -> None:
        ours, theirs = self.pair()
        self.link.cut()
        ours.transport.write(b"a")
        self.go(1.0)
        self.world.network.power_off("10.0.0.1")
        self.link.heal()
        self.go(1.0)
        self.assertEqual(theirs.data, b"")

    def test_slow_times_may_overlap(self) -> None:
        usual = self.link.takes()
        self.link.slow_down(50.0)
        self.link.slow_down(80.0)
        self.link.speed_up(50.0)
        self.assertGreater(max(self.link.takes() for _ in range(20)), 1.0)
        self.link.speed_up(80.0)
        self.assertLess(max(self.link.takes() for _ in range(20)), max(usual, 0.01))


class Connecting(NetworkTestCase):
    """How connections begin."""

    def failure(self, found: list[Any]) -> str:
        return type(found[0].value).__name__

    def test_nobody_listens(self) -> None:
        found: list[Any] = []
        TCP4ClientEndpoint(self.one.reactor, "10.0.0.2", 81).connect(Talks()).addBoth(found.append)
        self.go(1.0)
        self.assertEqual(self.failure(found), "ConnectionRefusedError")

    def test_nobody_answers(self) -> None:
        self.link.cut()
        found = self.connect(timeout=5.0)
        self.go(4.9)
        self.assertEqual(found, [])
        self.go(0.2)
        self.assertEqual(self.failure(found), "TimeoutError")
        self.link.heal()
        self.go(1.0)
        self.assertEqual([each.log for each in self.accepted.made], [["ConnectionLost"]])

    def test_a_machine_without_power_answers_nobody(self) -> None:
        machine = self.world.machine("m", "10.0.0.3")
        machine.power_cut()
        found: list[Any] = []
        TCP4ClientEndpoint(self.one.reactor, "10.0.0.3", 80, timeout=3.0).connect(Talks()).addBoth(
            found.append
        )
        self.go(10.0)
        self.assertEqual(self.failure(found), "TimeoutError")
