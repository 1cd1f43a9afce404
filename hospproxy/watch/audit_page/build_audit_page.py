"""Builds the audit page from the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ...config import Settings
from ...interfaces import IJournal, ITrailReader
from ...keys import audit_users as users
from ...process.clocks import wall
from ...process.worker import TaskThread
from .login import LogIn
from .looks import AuditLooks
from .page import AuditPage
from .pages import Pages

_log = Logger()


class AuditPageService:
    """The audit page, with the threads and the reader that start and stop with it.

    :param reader: searches the trail; None: the database is off.
    :param pseudonym: returns what stands for a claimed name (``Describer.pseudonym``).
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        reader: ITrailReader | None,
        journal: IJournal,
        pseudonym: Callable[[str], str],
    ) -> None:
        self._settings = settings
        # Two threads: guessed passwords must not delay the pages of logged-in auditors.
        self._passwords = TaskThread(reactor, "audit-passwords")
        self._rendering = TaskThread(reactor, "audit-pages")
        options = settings.audit_page
        self._reader = reader
        path = settings.audit_users_path
        login = LogIn(path, self._passwords, reactor, pseudonym, options.remember_s)
        pages = Pages(reader, self._rendering, wall, options)
        self.page = AuditPage(pages, login, AuditLooks(pseudonym), journal, reactor, wall)

    def start(self) -> Deferred[None]:
        """Create the first user if there is no users file, so that an auditor can log in."""
        path = self._settings.audit_users_path
        password_file = self._settings.state_dir / "audit-page-password"
        made = self._passwords.run(lambda: users.make_first(path, password_file))
        return made.addCallbacks(
            lambda new: self._said(new, str(password_file)),
            lambda failure: _log.error(
                "no user can log in to the audit page: {why}; create one with hospproxy-audit user",
                why=str(failure.value),
            ),
        )

    def _said(self, new: bool, password_file: str) -> None:
        if new:
            _log.info("The audit page's first user is auditor; the password is in {path}", path=password_file)

    async def stop(self) -> None:
        """Close the reader, which cancels running searches, and end the threads."""
        if self._reader is not None:
            await self._reader.close()
        self._passwords.stop()
        self._rendering.stop()
