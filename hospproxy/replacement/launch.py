"""The command that starts another version with the same flags."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ..control.owner import ReplacementFailed


@frozen(slots=True)
class Launch:
    """How this process was started, as far as its successor needs it. Paths are absolute.

    :param twistd: flags of twistd.
    :param proxy: flags of ``twistd hospproxy``.
    :param pid_file: "" for none.
    :param secrets: variables that were taken out of the environment, which a successor reads again.
    """

    twistd: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()
    pid_file: str = ""
    secrets: Mapping[str, str] = field(factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        outer: Mapping[str, Any],
        options: Mapping[str, Any],
        listen: Sequence[str],
        secrets: Mapping[str, str],
    ) -> Launch:
        """Read it from the parsed flags.

        :param outer: of twistd. Its user, folder and umask were applied to this process, and are inherited.
        :param options: of ``twistd hospproxy``.
        """
        twistd = ["-n", "--pidfile="]
        for name in ("logfile", "reactor", "prefix"):
            value = outer.get(name)
            if value and not (name == "prefix" and not outer.get("syslog")):
                path = os.path.abspath(value) if name == "logfile" and value != "-" else value
                twistd += [f"--{name}", str(path)]
        if outer.get("syslog"):
            twistd.append("--syslog")
        proxy = []
        for name in ("config", "state"):
            if options.get(name):
                proxy += [f"--{name}", os.path.abspath(options[name])]
        if options.get("upstream"):
            proxy += ["--upstream", options["upstream"]]
        for url in listen:
            proxy += ["--listen", url]
        pid_file = outer.get("pidfile") if outer.get("nodaemon") is not None else ""
        return cls(tuple(twistd), tuple(proxy), os.path.abspath(pid_file) if pid_file else "", secrets)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a successor."""
        return {**os.environ, **self.secrets}

    def command(self, python: Path) -> list[str]:
        """Return program and arguments of a successor.

        :param python: the interpreter of the version to start.
        :raise ReplacementFailed: there is no such interpreter, or it has no twistd.
        """
        twistd = python.with_name("twistd")
        for needed in (python, twistd):
            if not needed.is_file():
                raise ReplacementFailed(f"{needed} does not exist: is this version installed?")
        # -P: import nothing from the current folder.
        return [str(python), "-P", str(twistd), *self.twistd, "hospproxy", *self.proxy, "--successor"]
