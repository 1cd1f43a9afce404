"""A link is up or down, never blocks a caller, and validates everything that Redis sends."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.options.redis_section import RedisSettings
from hospproxy.options.secret_fields import SecretText
from hospproxy.sharing import connection as connections
from hospproxy.sharing import link as links
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.link import Link
from hospproxy.sharing.lua_scripts import Script
from hospproxy.sharing.replies import ErrorReply, InvalidReply
from hospproxy.watch.metrics import Metrics

from .fake_redis import FakeRedis, bulk

SCRIPT = Script("s", "return {'ok'}", "d" * 40)
OK = b"*1\r\n$2\r\nok\r\n"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.redis = FakeRedis()
        self.meter = Metrics(strict=True)
        self.events: list[Any] = []
        self.said: list[str] = []
        self.patch(
            links._log,
            "observer",
            lambda event: self.said.append(event.get("why") or event["log_format"].split()[-1]),
        )

    def start(self, **options: Any) -> Link:
        settings = RedisSettings(enabled=True, **options)
        link = Link(settings, self.clock, self.meter, lambda: 1.0, opener=self.redis.open)
        link.subscribe(b"{p}:wake")
        link.on_up(lambda run_id: self.events.append(("up", run_id)))
        link.on_down(lambda: self.events.append("down"))
        link.on_message(self.events.append)
        link.start()
        self.addCleanup(link.stop)
        return link

    def ask(self, link: Link, *command: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(link.ask(*command))

    def away(self, asked: Deferred[Any]) -> str:
        return str(self.failureResultOf(asked, Away).value)

    def counted(self, result: str) -> float:
        return self.meter.value("redis_commands_total", result=result) or 0.0


class UpTests(Case):
    """Connecting and disconnecting."""

    def test_it_comes_up(self) -> None:
        """Once both connections are ready; the listener is called before any command is accepted."""
        self.redis.says[b"GET"] = b":1\r\n"
        link = self.start(user="proxy", password=SecretText(b"pass"), database=3)
        self.assertTrue(link.is_up)
        self.assertEqual(self.events, [("up", b"a" * 40)])
        self.assertEqual(self.redis.commands.heard[:2], [[b"AUTH", b"proxy", b"pass"], [b"SELECT", b"3"]])
        self.assertEqual(self.redis.listener.heard[-1], [b"SUBSCRIBE", b"{p}:wake"])
        self.assertEqual(self.successResultOf(self.ask(link, "GET", b"x")), 1)
        self.assertEqual(self.said, ["use"])

    def test_whoever_hears_of_it_may_ask_at_once(self) -> None:
        self.redis.says[b"GET"] = b":1\r\n"
        link = Link(RedisSettings(), self.clock, self.meter, lambda: 0.0, opener=self.redis.open)
        asked: list[Deferred[Any]] = []
        link.on_up(lambda _: 1 / 0)
        link.on_up(lambda _: asked.append(self.ask(link, "GET", b"x")))
        link.start()
        self.addCleanup(link.stop)
        self.assertEqual(self.successResultOf(asked[0]), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 0)  # the log is patched

    def test_what_fails_at_the_beginning(self) -> None:
        """No command is accepted. The log has the reason, and of Redis's error only its name."""
        for said, why in (
            ({b"AUTH": b"-WRONGPASS invalid secret\r\n"}, "user or password is wrong"),
            (
                {b"AUTH": b"-ERR AUTH <password> called without\r\n"},
                "it has no password, but the options give one",
            ),
            (
                {b"PING": b"-NOAUTH Authentication required.\r\n"},
                "it requires a password: set redis.password_file",
            ),
            ({b"PING": b"-LOADING Redis is loading\r\n"}, "it answers LOADING"),
            ({b"INFO": b"-NOPERM secret\r\n"}, "its user lacks a permission that is needed (docs/redis.md)"),
            ({b"INFO": b"+OK\r\n"}, "no answer to INFO"),
            ({b"INFO": bulk(b"run_id:short\r\nrole:master\r\n")}, "no answer to INFO"),
            (
                {b"INFO": bulk(b"run_id:" + b"a" * 40 + b"\r\nrole:slave\r\n")},
                "it is a replica, which cannot be written to",
            ),
            ({b"SUBSCRIBE": b":1\r\n"}, "no answer to SUBSCRIBE"),
            ({b"PING": b"HTTP/1.1 400 Bad Request\r\n"}, "it sent an invalid reply: no reply begins so"),
        ):
            self.redis, self.said = FakeRedis(), []
            self.redis.says.update(said)  # type: ignore[arg-type]
            link = self.start(password=SecretText(b"pass"))
            self.assertFalse(link.is_up)
            self.assertEqual(self.said, [why])
            self.assertTrue(all(wire.aborted for wire in self.redis.wires))
            link.stop()
        self.assertEqual(self.events, [])

    def test_two_servers_under_one_name(self) -> None:
        def another(wire: Any, command: list[bytes]) -> bytes:
            self.redis.run_id = b"%040d" % len(self.redis.wires)
            return self.redis.info(wire, command)

        self.redis.says[b"INFO"] = another
        self.assertFalse(self.start().is_up)
        self.assertEqual(self.said, ["two servers answer to its name"])

    def test_silence_at_the_beginning(self) -> None:
        self.redis.says[b"PING"] = None
        link = self.start()
        self.clock.advance(links.CONNECT_S)
        self.assertEqual(self.said, ["it does not answer in time"])
        del link

    def test_it_is_tried_for_ever(self) -> None:
        """At first soon, then every second; each reason is logged once."""
        self.redis.opening = error.ConnectionRefusedError()
        link = self.start()
        pauses = []
        for _ in range(8):
            tries = self.redis.tries
            pause = 0.0
            while self.redis.tries == tries:
                self.clock.advance(0.01)
                pause += 0.01
            pauses.append(round(pause, 2))
        for pause, expected in zip(pauses, (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0), strict=False):
            self.assertLess(abs(pause - expected), 0.015)
        self.redis.opening = error.DNSLookupError()
        self.clock.advance(1.1)
        self.assertEqual(self.said, ["it refuses connections", "its host name cannot be resolved"])
        self.redis.opening = None
        self.redis.says[b"GET"] = b":1\r\n"
        self.clock.advance(1.1)
        self.assertTrue(link.is_up)
        self.successResultOf(self.ask(link, "GET"))
        self.assertEqual(self.said[2:], ["back"])

    def test_one_that_refuses_everything_is_not_back(self) -> None:
        """It comes and goes, and is logged once."""
        self.redis.says[b"EVALSHA"] = b"-READONLY You can't write\r\n"
        link = self.start()
        for _ in range(20):
            if link.is_up:
                self.away(Deferred.fromCoroutine(link.evaluate(SCRIPT, [], [])))
            self.clock.advance(1.1)
        self.assertEqual(self.said, ["it answers READONLY"])
        self.assertGreater(self.events.count("down"), 5)

    def test_one_that_comes_and_goes_does_not_fill_the_log(self) -> None:
        """It is used and breaks again and again: the same reason is logged once a minute, and so is its return."""
        self.redis.says[b"GET"] = b":1\r\n"
        link = self.start()
        for _ in range(600):
            if link.is_up:
                self.ask(link, "GET", b"x")
                self.redis.commands.protocol.dataReceived(b"?")
            self.clock.advance(0.2)
        self.assertEqual(self.said[0], "use")
        self.assertIn("back", self.said)
        self.assertLess(len(self.said), 8)

    def test_what_is_refused_is_said_once(self) -> None:
        """A Redis that is full, or has keys of other types, refuses each command: this is logged once."""
        link = self.start()
        for said in (b"-OOM command not allowed secret\r\n", b"-WRONGTYPE secret\r\n", b"-OOM again\r\n"):
            self.redis.says[b"EVALSHA"] = said
            for _ in range(100):
                self.away(Deferred.fromCoroutine(link.evaluate(SCRIPT, [], [])))
        self.assertEqual(self.said, ["it answers OOM", "it answers WRONGTYPE"])

    def test_either_connection_ends_both(self) -> None:
        for which in ("commands", "listener"):
            self.redis, self.events = FakeRedis(), []
            link = self.start()
            asked = self.ask(link, "GET")
            getattr(self.redis, which).abortConnection()
            self.assertEqual(self.events, [("up", b"a" * 40), "down"])
            self.assertTrue(all(wire.aborted for wire in self.redis.wires))
            self.away(asked)
            self.clock.advance(0.1)
            self.assertTrue(link.is_up)

    def test_a_listener_that_is_silent_is_dropped(self) -> None:
        """Nothing else would show that the connection is dead."""
        link = self.start()
        self.redis.says[b"PING"] = None
        self.clock.advance(links.LISTEN_CHECK_S)
        self.assertTrue(link.is_up)
        self.clock.advance(links.CONNECT_S)
        self.assertFalse(link.is_up)

    def test_a_listener_that_answers_is_kept(self) -> None:
        link = self.start()
        for _ in range(50):
            self.clock.advance(links.LISTEN_CHECK_S)
        self.assertTrue(link.is_up)
        self.assertEqual(self.events, [("up", b"a" * 40)])

    def test_stop(self) -> None:
        """Stop in every state; no timer is left."""
        self.redis.says[b"GET"] = None
        link = self.start()
        asked = self.ask(link, "GET")
        link.stop()
        self.away(asked)
        self.assertEqual(self.events[-1], "down")
        self.redis.hanging = True
        self.start().stop()
        self.redis.hanging, self.redis.opening = False, error.ConnectionRefusedError()
        self.start().stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CommandTests(Case):
    """Sending commands."""

    def test_scripts(self) -> None:
        """Sent by digest, or as a whole if Redis does not know them."""
        self.redis.says[b"EVALSHA"] = b"-NOSCRIPT No matching script\r\n"
        self.redis.says[b"EVAL"] = OK
        link = self.start()
        result = Deferred.fromCoroutine(link.evaluate(SCRIPT, [b"k"], [b"\xff", 1, "é"]))
        self.assertEqual(self.successResultOf(result), [b"ok"])
        rest = [b"1", b"k", b"\xff", b"1", "é".encode()]
        self.assertEqual(
            self.redis.commands.heard[-2:],
            [[b"EVALSHA", b"d" * 40, *rest], [b"EVAL", SCRIPT.text.encode(), *rest]],
        )

    def test_a_script_that_is_sent_twice_has_one_time_out(self) -> None:
        link = self.start(timeout_s=0.5)
        result = Deferred.fromCoroutine(link.evaluate(SCRIPT, [], []))
        self.clock.advance(0.4)
        self.redis.commands.protocol.dataReceived(b"-NOSCRIPT x\r\n")
        self.clock.advance(0.1)
        self.away(result)

    def test_what_cannot_be_spelled(self) -> None:
        """It is an error of the caller, who gets no other caller's reply."""
        link = self.start()
        first = self.ask(link, "GET")
        self.failureResultOf(self.ask(link, "GET", "\ud800"), UnicodeEncodeError)
        self.redis.commands.protocol.dataReceived(b":1\r\n")
        self.assertEqual(self.successResultOf(first), 1)
        self.assertTrue(link.is_up)

    def test_numbers_stay_bytes(self) -> None:
        self.redis.says[b"EVALSHA"] = b"*2\r\n$2\r\nok\r\n$4\r\n0012\r\n"
        result = Deferred.fromCoroutine(self.start().evaluate(SCRIPT, [], []))
        self.assertEqual(self.successResultOf(result), [b"ok", b"0012"])

    def test_errors_that_leave_the_connection_sound(self) -> None:
        link = self.start()
        for code in ("OOM", "WRONGTYPE", "NOPERM", "BUSY", "ERR", "MISCONF"):
            self.redis.says[b"EVALSHA"] = f"-{code} secret\r\n".encode()
            words = self.away(Deferred.fromCoroutine(link.evaluate(SCRIPT, [], [])))
            self.assertNotIn("secret", words)
        self.assertTrue(link.is_up)
        self.assertEqual(self.counted("error"), 6)

    def test_errors_of_aserver_that_is_not_the_one(self) -> None:
        """A failover may have moved its name, so the link reconnects."""
        for code in ("READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "NOAUTH"):
            self.redis, self.events = FakeRedis(), []
            link = self.start()
            self.redis.says[b"EVALSHA"] = f"-{code} x\r\n".encode()
            self.away(Deferred.fromCoroutine(link.evaluate(SCRIPT, [], [])))
            self.assertFalse(link.is_up, code)
            self.assertEqual(self.events[-1], "down")

    def test_no_reply_in_time(self) -> None:
        """The connection is dropped: what comes then belongs to nobody. All who wait hear of it, after ``on_down``."""
        link = self.start(timeout_s=0.5)
        first = self.ask(link, "GET", b"1")
        self.clock.advance(0.3)
        second = self.ask(link, "GET", b"2")
        seen: list[Any] = []
        first.addErrback(lambda _: seen.append(list(self.events)))
        wire = self.redis.commands
        self.clock.advance(0.2)
        self.assertEqual(seen, [[("up", b"a" * 40), "down"]])
        self.away(second)
        self.assertTrue(wire.aborted)
        self.assertEqual((self.counted("timeout"), self.counted("lost")), (1, 1))
        wire.protocol.dataReceived(b":1\r\n:2\r\n")  # dropped

    def test_away_at_once(self) -> None:
        """While the link is down, commands fail at once, and none is queued."""
        self.redis.opening = error.ConnectionRefusedError()
        link = self.start()
        self.assertEqual(self.away(self.ask(link, "GET")), "Redis is away")
        self.assertEqual(self.away(Deferred.fromCoroutine(link.evaluate(SCRIPT, [], []))), "Redis is away")

    def test_too_many_under_way(self) -> None:
        link = self.start()
        waiting = [self.ask(link, "GET") for _ in range(connections.MOST_COMMANDS)]
        self.assertIn("too many", self.away(self.ask(link, "GET")))
        self.assertTrue(link.is_up)
        self.redis.commands.protocol.dataReceived(b":1\r\n" * len(waiting))
        self.assertEqual({self.successResultOf(each) for each in waiting}, {1})

    def test_too_many_bytes_under_way(self) -> None:
        """A paused Redis must not fill the process's memory. A single command may have any length."""
        self.patch(connections, "MOST_BYTES", 1000)
        link = self.start()
        first = self.ask(link, "SET", b"k", b"v" * 2000)
        self.assertIn("too many", self.away(self.ask(link, "GET")))
        self.redis.commands.protocol.dataReceived(b"+OK\r\n")
        self.successResultOf(first)
        self.redis.says[b"GET"] = b":1\r\n"
        self.successResultOf(self.ask(link, "GET"))

    def test_whoever_no_longer_waits(self) -> None:
        """A reply to a cancelled call is dropped, and goes to no other caller."""
        link = self.start()
        first, second = self.ask(link, "GET", b"1"), self.ask(link, "GET", b"2")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.redis.commands.protocol.dataReceived(b":1\r\n:2\r\n")
        self.assertEqual(self.successResultOf(second), 2)

    def test_no_list_from_ascript(self) -> None:
        for said in (b"+OK\r\n", b":1\r\n", b"$-1\r\n", bulk(b"ok")):
            self.redis = FakeRedis()
            self.redis.says[b"EVALSHA"] = said
            link = self.start()
            self.away(Deferred.fromCoroutine(link.evaluate(SCRIPT, [], [])))
            self.assertFalse(link.is_up)

    def test_durations(self) -> None:
        link = self.start()
        asked = self.ask(link, "GET")
        self.clock.advance(0.25)
        self.redis.commands.protocol.dataReceived(b":1\r\n")
        self.successResultOf(asked)
        self.assertEqual(self.meter.value("redis_seconds_sum"), 0.25)


class NonsenseTests(Case):
    """Unsolicited messages, and bytes that are not a reply."""

    def test_a_reply_that_nobody_asked_for(self) -> None:
        link = self.start()
        self.redis.commands.protocol.dataReceived(b"+OK\r\n")
        self.assertFalse(link.is_up)

    def test_pushes(self) -> None:
        """RESP3, which was not requested; and messages on the connection for commands."""
        for said in (
            b">3\r\n+message\r\n+a\r\n+b\r\n",
            b"*3\r\n$7\r\nmessage\r\n$8\r\n{p}:wake\r\n$1\r\nx\r\n",
        ):
            self.redis, self.events = FakeRedis(), []
            link = self.start()
            self.redis.commands.protocol.dataReceived(said)
            self.assertFalse(link.is_up)
            self.assertNotIn(b"x", self.events)

    def test_messages(self) -> None:
        """Only of the one channel, and only once they are complete."""
        link = self.start()
        wire = self.redis.listener.protocol
        said = b"*3\r\n$7\r\nmessage\r\n$8\r\n{p}:wake\r\n$2\r\n\xffx\r\n"
        wire.dataReceived(said[:-3])
        self.assertEqual(len(self.events), 1)
        wire.dataReceived(said[-3:])
        self.assertEqual(self.events[1:], [b"\xffx"])
        wire.dataReceived(said.replace(b"wake", b"else"))
        self.assertFalse(link.is_up)
        self.assertEqual(self.events[2:], ["down"])

    def test_half_areply(self) -> None:
        """Half a reply counts as none: a time-out."""
        link = self.start(timeout_s=0.5)
        asked = self.ask(link, "GET")
        self.redis.commands.protocol.dataReceived(b"$5\r\nab")
        self.assertNoResult(asked)
        self.clock.advance(0.5)
        self.away(asked)

    def test_a_giant(self) -> None:
        link = self.start()
        asked = self.ask(link, "GET")
        self.redis.commands.protocol.dataReceived(b"$9999999999\r\n")
        self.assertIn("too long", self.away(asked))
        self.assertFalse(link.is_up)

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=60), st.booleans())
    def test_no_bytes_do_harm(self, data: bytes, asked: bool) -> None:
        """A command returns a value or raises Away, the log has only fixed words, and the next connection works."""
        self.redis = FakeRedis()
        link = self.start(timeout_s=0.5)
        waiting = self.ask(link, "GET") if asked else None
        self.redis.commands.protocol.dataReceived(data)
        self.redis.listener.protocol.dataReceived(data)
        self.clock.advance(0.5)
        if waiting is not None:
            waiting.addErrback(lambda failure: failure.trap(Away) and None)
            self.successResultOf(waiting)
        for _ in range(3):
            self.clock.advance(1.0)
        for wire in self.redis.wires[-2:]:
            wire.abortConnection()
        self.clock.advance(1.1)
        self.assertTrue(link.is_up)
        self.redis.says[b"GET"] = b":1\r\n"
        self.assertEqual(self.successResultOf(self.ask(link, "GET")), 1)
        link.stop()


class WordsTests(SynchronousTestCase):
    """Tests of ``words_of``."""

    def test_each(self) -> None:
        for problem, words in (
            (error.ConnectionRefusedError(), "it refuses connections"),
            (error.TimeoutError(), "it does not answer in time"),
            (error.DNSLookupError(), "its host name cannot be resolved"),
            (error.NoRouteError(), "it cannot be reached"),
            (error.ConnectionLost(), "the connection ended"),
            (VerificationError(errors=[]), "its certificate is for another host name"),
            (
                SSL.Error([("SSL routines", "", "certificate verify failed")]),
                "TLS failed: certificate verify failed",
            ),
            (SSL.Error(), "TLS failed"),
            (FileNotFoundError(2, "No such file", "/ca.pem"), "/ca.pem cannot be read: No such file"),
            (ValueError("secret"), "a certificate or key file is invalid"),
            (ErrorReply("OOM"), "it answers OOM"),
            (InvalidReply("a line"), "a line"),
            (ZeroDivisionError("secret"), "ZeroDivisionError"),
        ):
            self.assertEqual(connections.words_of(problem), words)
