from __future__ import annotations

from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hosp_standin.delays import Delay
from hosp_standin.faults import Faults
from hosp_standin.machine import Settings
from hosp_standin.service import Place, Standin
from hosp_standin.tap import Options, makeService


def parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


class OptionsTests(SynchronousTestCase):
    def test_without_any_it_is_as_slow_as_hosp(self) -> None:
        options = parsed()
        self.assertEqual(options.settings, Settings(delay=Delay("lognormal", 4.4, 20)))
        self.assertEqual(
            (options.listen, options.control), (Place("127.0.0.1", 3000), Place("127.0.0.1", 3001))
        )

    def test_all(self) -> None:
        options = parsed(
            "--listen=[::1]:0",
            "--control=none",
            "--seed=7",
            "--delay=fixed:2",
            "--time-scale=0.09",
            "--places=5",
            "--queue=3",
            "--faults=error_after=0.5",
            "--offline-mode=reset",
            "--keep-alive=5",
            "--set-cookie",
            "--own-hospital-only",
        )
        self.assertEqual((options.listen, options.control), (Place("::1", 0), None))
        self.assertEqual(
            options.settings,
            Settings(
                seed=7,
                delay=Delay("fixed", 2),
                time_scale=0.09,
                places=5,
                queue=3,
                faults=Faults(error_after=0.5),
                offline_mode="reset",
                keep_alive_s=5,
                set_cookie=True,
                own_hospital_only=True,
            ),
        )

    def test_nonsense_is_refused_with_the_name_of_the_option(self) -> None:
        for argument in (
            "--listen=3000",
            "--listen=:3000",
            "--listen=127.0.0.1:x",
            "--listen=127.0.0.1:70000",
            "--control=0.0.0.0:3001",
            "--control=",
            "--seed=x",
            "--delay=slow",
            "--time-scale=-1",
            "--time-scale=nan",
            "--places=-1",
            "--queue=x",
            "--faults=eror=1",
            "--faults=error_after=2",
            "--offline-mode=gone",
            "--keep-alive=0",
        ):
            problem = self.assertRaises(UsageError, parsed, argument)
            self.assertIn(argument.partition("=")[0], str(problem))


class ServiceTests(SynchronousTestCase):
    def test_made_of_the_options(self) -> None:
        reactor: Any = MemoryReactorClock()
        service = makeService(parsed("--listen=127.0.0.1:4000", "--control=none", "--places=2"), reactor)
        assert isinstance(service, Standin)
        self.assertEqual(reactor.tcpServers, [])
        service.startService()
        self.assertEqual([server[0] for server in reactor.tcpServers], [4000])
        self.assertEqual(service.machine.places.limit, 2)

    def test_twistd_finds_it(self) -> None:
        found = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "hosp-standin"]
        self.assertEqual(len(found), 1)
        verifyObject(IServiceMaker, found[0])
        self.assertIs(found[0].options, Options)
