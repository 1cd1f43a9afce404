from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.log_output import MOST_KINDS, WINDOW_S, LimitedObserver, LogOutput, install
from hospproxy.options.log_section import LogSettings


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.file = Clock(), io.StringIO()

    def logger(self, namespace: str = "a.part", **options: Any) -> Logger:
        observer = LogOutput(
            self.file,
            LogSettings(**options),
            self.clock.seconds,
            lambda s, call: self.clock.callLater(s, call),
        )
        return Logger(namespace, observer=LogPublisher(observer))

    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


class Level(Case):
    def test_what_is_below_is_not_written(self) -> None:
        for level, number in (("debug", 5), ("info", 4), ("warn", 3), ("error", 2), ("critical", 1)):
            self.file.truncate(0)
            self.file.seek(0)
            log = self.logger(level=level)
            for each in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical):
                log.emit(each, f"at {each.name}")
            self.assertEqual(len(self.lines()), number, level)

    def test_an_event_without_alevel_is_info(self) -> None:
        for level, number in (("info", 1), ("error", 0)):
            self.file.truncate(0)
            observer = LogOutput(self.file, LogSettings(level=level), self.clock.seconds, lambda *_: None)
            observer({"log_format": "old", "log_time": 0.0})
            self.assertEqual(self.file.getvalue().count("old"), number)


class Json(Case):
    def test_one_object_aline_with_its_fields(self) -> None:
        self.logger(format="json").warn(
            "{who} is\naway for {seconds} s", who="Redis", seconds=3, odd=object()
        )
        [line] = self.lines()
        found = json.loads(line)
        self.assertEqual(
            {name: found[name] for name in ("level", "part", "text", "fields")},
            {
                "level": "warn",
                "part": "a.part",
                "text": "Redis is\naway for 3 s",
                "fields": {"who": "Redis", "seconds": 3},
            },
        )
        self.assertRegex(found["time"], r"^20\d\d-\d\d-\d\dT[\d:.]+Z$")

    def test_atraceback_is_in_the_text(self) -> None:
        try:
            raise ValueError("broken")
        except ValueError:
            self.logger(format="json").failure("it failed", Failure())
        found = json.loads(self.lines()[0])
        self.assertIn("ValueError: broken", found["text"])
        self.assertEqual(found["level"], "critical")

    def test_bad_text_is_still_aline(self) -> None:
        self.logger(format="json").info("{what}", what="\ud800 \x00 \u2028 “")
        self.assertEqual(len(self.file.getvalue().split("\n")), 2)
        json.loads(self.file.getvalue())


class Limit(Case):
    def test_the_rest_is_counted(self) -> None:
        log = self.logger(most_a_minute=3)
        for number in range(206):
            log.info("could not connect to {host}", host=f"h{number}")
        self.assertEqual(len(self.lines()), 3)
        self.clock.advance(WINDOW_S)
        self.assertEqual(len(self.lines()), 4)
        self.assertIn("could not connect to h205 … and 203 more like this within a minute", self.lines()[3])
        log.info("could not connect to {host}", host="again")
        self.assertEqual(len(self.lines()), 5)
        self.assertEqual(len(self.clock.getDelayedCalls()), 0)

    def test_other_lines_are_written(self) -> None:
        log = self.logger(most_a_minute=1)
        for _ in range(3):
            log.info("one")
            log.info("two")
        self.assertEqual(len(self.lines()), 2)

    def test_lines_of_workers_are_told_apart_by_their_text(self) -> None:
        log = self.logger(most_a_minute=1)
        for number in range(3):
            log.emit(
                LogLevel.warn, "worker {slot}: {text}", slot=number, text=f"HOSP gone after {number}.5 s"
            )
            log.emit(LogLevel.warn, "worker {slot}: {text}", slot=number, text="Redis is away")
        self.assertEqual(len(self.lines()), 2)

    def test_critical_lines_are_always_written(self) -> None:
        log = self.logger(most_a_minute=1)
        for number in range(5):
            log.critical("write {reference} was carried out twice", reference=number)
        self.assertEqual(len(self.lines()), 5)

    def test_zero_is_no_limit(self) -> None:
        log = self.logger(most_a_minute=0)
        for _ in range(500):
            log.info("line")
        self.assertEqual(len(self.lines()), 500)

    def test_kinds_are_bounded(self) -> None:
        written: list[Any] = []
        limited = LimitedObserver(written.append, 1, self.clock.seconds, lambda *_: None)
        for number in range(MOST_KINDS + 500):
            limited({"log_format": str(number), "log_namespace": "n", "log_level": LogLevel.info})
        self.assertEqual(len(limited._kinds), MOST_KINDS)
        self.assertEqual(len(written), MOST_KINDS + 500)
        self.clock.advance(WINDOW_S)
        limited({"log_format": "after", "log_namespace": "n", "log_level": LogLevel.info})
        self.assertEqual(len(limited._kinds), 1)


class Twistd(SynchronousTestCase):
    def test_its_own_flags_come_first(self) -> None:
        for flags in ({"logger": print}, {"syslog": True}):
            given = dict(flags)
            install(given, LogSettings())
            self.assertEqual(given, flags)

    def test_afile(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "proxy.log"
            twistd: dict[str, Any] = {"logfile": str(path), "nodaemon": True}
            install(twistd, LogSettings(format="json"))
            namedAny(twistd["logger"])()({"log_format": "hello", "log_time": 0.0, "log_level": LogLevel.info})
            self.assertEqual(json.loads(path.read_text())["text"], "hello")

    def test_in_the_foreground_to_stdout(self) -> None:
        said = io.StringIO()
        self.patch(sys, "stdout", said)
        twistd: dict[str, Any] = {"logfile": None, "nodaemon": True}
        install(twistd, LogSettings())
        namedAny(twistd["logger"])()({"log_format": "hello", "log_time": 0.0, "log_level": LogLevel.info})
        self.assertIn("hello", said.getvalue())

    def test_adaemon_has_no_stdout(self) -> None:
        twistd: dict[str, Any] = {"logfile": "-", "nodaemon": False}
        install(twistd, LogSettings())
        self.assertRaises(SystemExit, namedAny(twistd["logger"]))
