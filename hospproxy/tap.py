"""The command line of ``twistd hospproxy``: its flags, and the service that it starts."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.python import usage

from .process import collector

if TYPE_CHECKING:
    from twisted.application.service import IService

    from .arrival.socket_activation import PassedSockets
    from .config import Settings
    from .options.source import OptionsSource, SecretEnvironment
    from .replacement.launch import Launch
    from .replacement.replaceable_proxy import ReplaceableProxy
    from .state.lock import FolderLock


class Options(usage.Options):
    """The flags. Parsing them also loads and checks the options, so nothing is bound before all of them are valid."""

    synopsis = "[--config FILE] [--check] [--upstream URL] [--listen URL …] [--state DIR]"
    longdesc = (
        "A reverse proxy in front of HOSP. Flags override the options file; without a file, --upstream is enough. "
        "docs/options.md explains every key."
    )
    optParameters: ClassVar[list[list[str | None]]] = [  # noqa: N815
        ["config", "c", None, "The options file (TOML)."],
        ["upstream", "u", None, "Address of HOSP, such as http://127.0.0.1:3000."],
        ["state", "s", None, "State folder: everything the proxy keeps on disk (default: hospproxy-state)."],
    ]
    optFlags: ClassVar[list[list[str | None]]] = [  # noqa: N815
        ["check", None, "Check the options and exit: status 0, or 1 with every error."],
        ["successor", None, "Take over from the running proxy. Only hospproxyctl upgrade uses it."],
    ]

    settings: Settings
    source: OptionsSource
    environment: SecretEnvironment
    heir: tuple[int, int] | None = None
    launch: Launch | None = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.listen: list[str] = []

    def opt_listen(self, url: str) -> None:
        """Where to listen, such as https://127.0.0.1:8443. May be repeated; replaces the file's listeners."""
        self.listen.append(url)

    opt_l = opt_listen

    def opt_version(self) -> None:
        """Print the version of hospproxy, and exit."""
        from importlib.metadata import version

        print(f"hospproxy {version('hospproxy')}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Load and check the options; twistd calls this when it has parsed the flags.

        :raise SystemExit: 1 with every error on stderr; 0 after a successful ``--check``. (A ``UsageError`` would bury
            the errors in the usage text.)
        """
        # "parent" holds twistd's own options; it is missing when these are parsed alone.
        outer = getattr(self, "parent", None)
        if outer is not None:
            collector.begin_start()

        from .checks import load_and_check
        from .config import ConfigError, Overrides
        from .options.source import SecretEnvironment, source_of
        from .process import privileges

        if outer is not None:
            self.heir = privileges.heir(outer.get("uid"), outer.get("gid"))
        if self.heir is not None:
            from .keys.secrets import HEIR

            HEIR.set(self.heir[0])
        file = self["config"]
        flags = Overrides(self["upstream"], tuple(self.listen), self["state"])
        try:
            self.source = source_of(None if file is None else Path(file), flags)
            self.environment = SecretEnvironment()
            self.settings, warnings = load_and_check(self.source, self.environment)
        except ConfigError as error:
            for line in error.problems:
                print(f"hospproxy: {line}", file=sys.stderr)
            raise SystemExit(1) from None
        for line in warnings:
            print(f"hospproxy: warning: {line}", file=sys.stderr)
        if outer is not None:
            from .replacement.launch import Launch

            self.launch = Launch.of(outer, self, self.listen, self.environment.kept)
        if self["check"]:
            print("hospproxy: options are good")
            raise SystemExit(0)
        if outer is not None:
            from .log_output import install

            install(outer, self.settings.log)


def makeService(options: Options, reactor: Any = None) -> IService:
    """Build the service of ``twistd hospproxy``, not yet started: the proxy, or the supervisor of several workers.

    :param reactor: the reactor to run on; None for the process's own.
    :raise SystemExit: 1, with the reason on stderr, if the state folder or another file cannot be used.
    """
    from .arrival.listeners import ListenerError
    from .process import privileges
    from .process.shutdown import leave_at_exit
    from .state.lock import LockError

    own = reactor is None
    if own:
        from twisted.internet import reactor

        for trouble in privileges.harden():
            print(f"hospproxy: warning: could not give up a privilege: {trouble}", file=sys.stderr)
    state_dir, heir = options.settings.state_dir, options.heir
    try:
        passed = _passed(options.settings)
        if heir is not None:
            privileges.prepare(state_dir, *heir)
        # Before anything else: only one process may create keys and certificates in the state folder. A successor is
        # given the lock.
        lock = None if options["successor"] else _lock(options)
        if options.settings.workers > 1:
            # The supervisor creates no files: the workers create them, as the user they run as.
            supervisor = _supervisor(options, reactor, lock, passed)
            if heir is not None:
                privileges.load_late_modules()
            return supervisor
        service = _proxy(options, reactor, lock, passed)
        if heir is not None:
            privileges.load_late_modules()
            privileges.hand_over(state_dir, *heir)
        if own:
            # A part that hangs may hold a lock that the interpreter would wait for at its exit.
            leave_at_exit(lambda: 1 if service.left else None)
    except (privileges.OwnershipError, LockError, ListenerError, OSError) as error:
        print(f"hospproxy: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    return service


def _lock(options: Options) -> FolderLock:
    """Lock the state folder against every other proxy.

    :raise LockError: another proxy uses it.
    """
    from .process.shutdown import GRACE_S
    from .state.lock import take

    def say(words: str) -> None:
        print(f"hospproxy: {words}", file=sys.stderr, flush=True)

    settings = options.settings
    return take(settings.state_dir, orphans_s=settings.drain_s + GRACE_S, heir=options.heir, say=say)


def _passed(settings: Settings) -> PassedSockets:
    """Take the listening sockets that systemd has opened.

    :raise ListenerError: one of them belongs to no listener of the options.
    """
    from .arrival.socket_activation import assigned, take

    admin = settings.admin.url if settings.admin.enabled else None
    return assigned(take(os.environ, os.getpid()), [each.url for each in settings.listeners], admin)


def _proxy(
    options: Options, reactor: Any, lock: FolderLock | None, passed: PassedSockets
) -> ReplaceableProxy:
    from .replacement.launch import Launch
    from .replacement.replaceable_proxy import ReplaceableProxy
    from .service.service import build

    return ReplaceableProxy(
        options.settings,
        options.source,
        reactor,
        lambda settings, source, seat, lock: build(
            settings, reactor, seat, lock=lock, source=source, environment=options.environment
        ),
        lock,
        options.launch or Launch(),
        lambda path: _own_pid_file(options, path),
        passed,
    )


def _own_pid_file(options: Options, path: str) -> None:
    """Let twistd remove a pid file at its end; "" for none."""
    outer = getattr(options, "parent", None)
    if outer is not None:
        outer["pidfile"] = path


def _supervisor(options: Options, reactor: Any, lock: FolderLock | None, passed: PassedSockets) -> IService:
    from .replacement.launch import Launch
    from .workers.supervisor import Supervisor

    # Workers are forked: they share the memory of what is imported here, while the process may still read it.
    import_module("hospproxy.service.service")

    service: IService = Supervisor(
        options.settings, reactor, lock=lock, source=options.source, environment=options.environment,
        launch=options.launch or Launch(), takes_over=bool(options["successor"]),
        own_pid_file=lambda path: _own_pid_file(options, path), passed=passed,
    )  # fmt: skip
    return service
