"""What ``twistd hospproxy`` understands, and how it becomes a service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.python import usage

if TYPE_CHECKING:
    from twisted.application.service import IService

    from .config import Settings
    from .state.lock import FolderLock


class Options(usage.Options):
    """The flags. Reading and checking the options is part of it, so that nothing is bound before all is right."""

    synopsis = "[--config FILE] [--check] [--upstream URL] [--listen URL …] [--state DIR]"
    longdesc = (
        "A reverse proxy in front of HOSP. Flags go before the file; without a file --upstream is enough. "
        "Every key is explained in docs/options.md."
    )
    optParameters: ClassVar[list[list[str | None]]] = [  # noqa: N815
        ["config", "c", None, "The options file (TOML)."],
        ["upstream", "u", None, "Where HOSP is: http://127.0.0.1:3000."],
        ["state", "s", None, "Folder of all that the proxy keeps (default: hospproxy-state)."],
    ]
    optFlags: ClassVar[list[list[str | None]]] = [  # noqa: N815
        ["check", None, "Only check the options: say what is wrong and exit with status 1, or 0."]
    ]

    settings: Settings
    heir: tuple[int, int] | None = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.listen: list[str] = []

    def opt_listen(self, url: str) -> None:
        """Where clients come: https://127.0.0.1:8443. May be given several times; replaces the file's listeners."""
        self.listen.append(url)

    opt_l = opt_listen

    def postOptions(self) -> None:
        """Load and check.

        :raise SystemExit: 1 with every error on stderr; 0 after ``--check``. (A ``UsageError`` would bury the errors
            in the usage text.)
        """
        from . import privileges
        from .checks import load_and_check
        from .config import ConfigError, Overrides

        # "parent" are twistd's own options; who parses these alone has none.
        outer = getattr(self, "parent", None) or {}
        self.heir = privileges.heir(outer.get("uid"), outer.get("gid"))
        if self.heir is not None:
            from .secrets import HEIR

            HEIR.set(self.heir[0])
        file = self["config"]
        flags = Overrides(self["upstream"], tuple(self.listen), self["state"])
        try:
            self.settings, warnings = load_and_check(None if file is None else Path(file), flags)
        except ConfigError as error:
            for line in error.problems:
                print(f"hospproxy: {line}", file=sys.stderr)
            raise SystemExit(1) from None
        for line in warnings:
            print(f"hospproxy: warning: {line}", file=sys.stderr)
        if self["check"]:
            print("hospproxy: options are good")
            raise SystemExit(0)


def makeService(options: Options, reactor: Any = None) -> IService:
    """The running proxy, not yet started.

    :param reactor: the one to run on; None for the process's own.
    """
    from . import privileges
    from .ending import leave_at_exit
    from .service import build
    from .state.lock import LockError

    own = reactor is None
    if own:
        from twisted.internet import reactor

        for trouble in privileges.harden():
            print(f"hospproxy: warning: it could not be given up: {trouble}", file=sys.stderr)
    state_dir, heir = options.settings.state_dir, options.heir
    try:
        if heir is not None:
            privileges.prepare(state_dir, *heir)
        # First: keys and certificates in the folder are made by one process.
        lock = _lock(options)
        if options.settings.workers > 1:
            # It makes nothing: what there is to make, workers make as the user whom they are.
            return _supervisor(options.settings, reactor, lock)
        service = build(options.settings, reactor, lock=lock)
        if heir is not None:
            privileges.load_late_modules()
            privileges.hand_over(state_dir, *heir)
        if own:
            # What hangs may hold a lock that the end of the interpreter would wait for.
            leave_at_exit(lambda: 1 if service.left else None)
    except (privileges.StateError, LockError, OSError) as error:
        print(f"hospproxy: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    return service


def _lock(options: Options) -> FolderLock:
    """Keep every other proxy out of the state folder.

    :raise LockError: another one uses it.
    """
    from .ending import GRACE_S
    from .state.lock import take

    def say(words: str) -> None:
        print(f"hospproxy: {words}", file=sys.stderr, flush=True)

    settings = options.settings
    return take(settings.state_dir, orphans_s=settings.drain_s + GRACE_S, heir=options.heir, say=say)


def _supervisor(settings: Settings, reactor: Any, lock: FolderLock) -> IService:
    from .workers.supervisor import Supervisor

    service: IService = Supervisor(settings, reactor, lock=lock)
    return service
