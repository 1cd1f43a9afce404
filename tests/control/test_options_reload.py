"""Reading the options file again: diff, reload, undo, and what stays on an error."""

from __future__ import annotations

import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from hospproxy.config import Settings
from hospproxy.control import options_history
from hospproxy.control.messages import ControlError
from hospproxy.control.options_history import OptionsHistory
from hospproxy.control.options_reload import OptionsReload
from hospproxy.keys.secrets import KeyFileError, MasterKey
from hospproxy.options.source import OptionsState, SecretEnvironment, source_of

from .test_commands import SECRET
from .test_commands import Case as CommandCase

T = TypeVar("T")


class AtOnce:
    """Runs a task in the same thread."""

    def run(self, task: Any) -> Deferred[Any]:
        try:
            return succeed(task())
        except Exception:
            failed: Deferred[Any] = Deferred()
            failed.errback(Failure())
            return failed

    def stop(self) -> None:
        pass


class Case(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.applied: list[Settings] = []
        self.unchanged = 0
        self.refusal = ""
        self.master = MasterKey(b"k" * 32)
        self.states: list[OptionsState] = []
        self.now = 1000.0
        self.start()

    def start(self) -> None:
        """Start a proxy on the file as it is."""

        def unchanged() -> None:
            self.unchanged += 1

        source = source_of(self.file, self.flags)
        from hospproxy.checks import load_and_check

        environment = SecretEnvironment({"HOOK": SECRET})
        settings, _ = load_and_check(source, environment)
        self.options = self.owner.options = OptionsReload(
            settings,
            source,
            environment,
            self.apply,
            unchanged,
            self.events,
            lambda: self.master,
            AtOnce(),
            lambda: self.now,
            self.states.append,
        )
        self.options.start()

    async def apply(self, settings: Settings, prepared: Callable[[], Awaitable[None]]) -> None:
        if self.refusal:
            raise ControlError(self.refusal)
        await prepared()
        self.applied.append(settings)

    def set(self, more: str) -> None:
        self.write(self.text + more)


class ReloadTests(Case):
    def test_what_changed_is_applied_and_shown(self) -> None:
        self.set("[retry]\nmax_attempts = 3\n")
        self.assertEqual(self.ctl("diff"), (0, "retry.max_attempts: 5 → 3\n"))
        self.assertEqual(self.applied, [])
        status, text = self.ctl("reload")
        self.assertEqual((status, text), (0, "retry.max_attempts: 5 → 3\noptions reloaded: 1 changed\n"))
        self.assertEqual(self.applied[0].retry.max_attempts, 3)
        self.assertEqual(self.ctl("diff")[1], "the options file says what is in force\n")
        self.assertEqual(self.states[-1], OptionsState(1, 1000.0, 0.0))
        self.assertIn("retry.max_attempts", self.ctl("config", "--changed")[1])

    def test_an_error_says_file_line_and_key_and_nothing_changes(self) -> None:
        self.set("# a comment\n[retry]\nmax_attempts = 0\ncap_s = 0.01\n[gate]\nconcurency = 5\n")
        status, _ = self.ctl("reload")
        self.assertEqual(status, 1)
        first = self.text.count("\n")
        self.assertIn(
            f"hospproxyctl: {self.file}:{first + 3}: retry.max_attempts: expected a whole number", self.err
        )
        self.assertIn(f"{self.file}:{first + 6}: gate.concurency: unknown key", self.err)
        self.assertIn(f"{self.file}:{first + 4}: retry.cap_s: it is less than", self.err)
        self.assertEqual((self.applied, self.options.state), ([], OptionsState(0, 0.0, 1000.0)))

    def test_what_is_no_toml(self) -> None:
        self.set("[gate\n")
        self.assertEqual(self.ctl("reload")[0], 1)
        self.assertRegex(self.err, rf"^hospproxyctl: {self.file}: it is not TOML: .*line 3")
        self.file.unlink()
        self.assertEqual(self.ctl("reload")[0], 1)
        self.assertIn("it cannot be read", self.err)

    def test_a_key_that_needs_a_restart_is_refused_by_name_and_all_stays(self) -> None:
        self.set("[retry]\nmax_attempts = 3\n[identity]\nmax_remembered = 5\n")
        self.assertEqual(self.ctl("reload")[0], 1)
        self.assertIn(
            "identity.max_remembered cannot change while the proxy runs: hospproxyctl upgrade", self.err
        )
        self.assertEqual(self.applied, [])
        self.assertIn("identity.max_remembered cannot change", self.ctl("diff")[1])

    def test_a_process_that_cannot_apply_them(self) -> None:
        self.refusal = "worker 1 cannot apply them: it has exited"
        self.set("[retry]\nmax_attempts = 3\n")
        self.assertEqual(self.ctl("reload")[0], 1)
        self.assertEqual(self.options.settings.retry.max_attempts, 5)
        self.assertEqual(self.options.state.generation, 0)

    def test_secrets_are_hidden_and_those_of_the_environment_stay(self) -> None:
        hook = '[alerts]\nwebhook_url = "https://hook.example/x"\n'
        self.set(f'{hook}webhook_secret_env = "HOOK"\n')
        self.assertEqual(self.ctl("reload")[0], 0)
        self.assertEqual(self.applied[-1].alerts.webhook_secret.value, SECRET.encode())  # type: ignore[union-attr]
        self.set(f'{hook}webhook_secret = "{SECRET}-other"\n')
        text = self.ctl("reload")[1]
        self.assertIn("alerts.webhook_secret: changed (hidden)", text)
        self.assertNotIn(SECRET, text)

    def test_hangup_reads_certificates_even_if_the_file_is_wrong(self) -> None:
        self.set("wrong")
        self.successResultOf(Deferred.fromCoroutine(self.options.hangup()))
        self.assertEqual(self.unchanged, 1)
        self.write(self.text)
        self.successResultOf(Deferred.fromCoroutine(self.options.hangup()))
        self.assertEqual((self.unchanged, len(self.applied)), (1, 1))

    def test_relative_paths_are_those_of_the_start(self) -> None:
        self.set('[origin]\nsecret_files = ["sub/secret"]\n')
        source = source_of(self.file)
        self.assertEqual(source.folder, Path.cwd())
        self.assertEqual(self.ctl("diff")[0], 1)
        self.assertIn(str(Path.cwd() / "sub/secret"), self.err)


class UndoTests(Case):
    def reload(self, more: str) -> None:
        self.set(more)
        self.assertEqual(self.ctl("reload")[0], 0, self.err)

    def test_back_step_by_step(self) -> None:
        self.reload("[retry]\nmax_attempts = 3\n")
        self.reload("[retry]\nmax_attempts = 2\n")
        status, text = self.ctl("undo")
        self.assertEqual(status, 0)
        self.assertIn("retry.max_attempts: 2 → 3\n", text)
        self.assertIn(f"{self.file} was not changed: it now differs", text)
        self.assertIn("max_attempts = 2", self.file.read_text())
        self.assertEqual(self.ctl("undo")[0], 0)
        self.assertEqual(self.options.settings.retry.max_attempts, 5)
        self.assertEqual(self.ctl("undo")[0], 1)
        self.assertIn("no other options were in force before", self.err)
        self.assertEqual(self.ctl("diff")[1], "retry.max_attempts: 5 → 2\n")

    def test_the_history_survives_a_restart(self) -> None:
        self.reload("[retry]\nmax_attempts = 3\n")
        self.start()
        self.assertEqual(self.ctl("undo")[0], 0)
        self.assertEqual(self.options.settings.retry.max_attempts, 5)

    def test_it_is_private_and_bounded(self) -> None:
        history = OptionsHistory(self.folder / "state", lambda: self.master)
        for number in range(options_history.MOST + 5):
            history.applied(b"%d" % number)
        kept = history.texts()
        self.assertEqual(len(kept), options_history.MOST)
        self.assertEqual({stat.S_IMODE(each.stat().st_mode) for each in kept}, {0o600})
        latest = b"%d" % (options_history.MOST + 4)
        self.assertEqual(history.read(kept[-1]), latest)
        history.applied(latest)
        self.assertEqual(history.texts(), kept)

    def test_a_secret_that_left_the_file_stands_nowhere_and_comes_back(self) -> None:
        hook = '[alerts]\nwebhook_url = "https://hook.example/x"\n'
        self.reload(f'{hook}webhook_secret = "{SECRET}"\n')
        self.reload(hook.replace("[alerts]", '[alerts]\nwebhook_secret_env = "HOOK"'))
        self.reload("[retry]\nmax_attempts = 3\n")
        kept = [each.read_bytes() for each in (self.folder / "state" / "options").iterdir()]
        self.assertEqual((len(kept), [each for each in kept if SECRET.encode() in each]), (4, []))
        self.assertEqual([self.ctl("undo")[0] for _ in range(2)], [0, 0], self.err)
        self.assertEqual(self.applied[-1].alerts.webhook_secret.value, SECRET.encode())  # type: ignore[union-attr]

    def test_another_master_key(self) -> None:
        self.reload("[retry]\nmax_attempts = 3\n")
        self.master = MasterKey(b"n" * 32, (MasterKey(b"k" * 32),))
        self.start()
        self.assertEqual(self.ctl("undo")[0], 0, "the key before reads what it has sealed")
        self.set("[retry]\nmax_attempts = 4\n")
        self.master = MasterKey(b"x" * 32)
        self.start()
        self.assertEqual(self.ctl("undo")[0], 1)
        self.assertIn("no other options were in force before", self.err)

    def test_a_master_key_that_cannot_be_read_costs_the_history_only(self) -> None:
        def unreadable() -> MasterKey:
            raise KeyFileError("the key is gone")

        self.options._history = OptionsHistory(self.folder / "state", unreadable)
        self.reload("[retry]\nmax_attempts = 3\n")
        self.assertEqual(self.ctl("undo")[0], 1)
        self.assertIn("the history of options cannot be used: the key is gone", self.err)

    def test_a_text_in_the_place_of_another_is_not_used(self) -> None:
        self.reload("[retry]\nmax_attempts = 3\n")
        first, second = OptionsHistory(self.folder / "state", lambda: self.master).texts()
        first.write_bytes(second.read_bytes())
        self.assertEqual(self.ctl("undo")[0], 1)

    def test_a_file_of_somebody_else_is_ignored(self) -> None:
        (self.folder / "state" / "options" / "notes.txt").write_text("x")
        self.reload("[retry]\nmax_attempts = 3\n")
        self.assertEqual(self.ctl("undo")[0], 0)
        self.assertEqual(json.dumps(self.options.state.generation), "2")


class AuditTests(Case):
    """Each change, and each refusal, is one record: before it takes effect."""

    def test_a_change_is_noted_before_it_is_applied(self) -> None:
        order: list[str] = []
        self.set("[retry]\nmax_attempts = 3\n")

        async def apply(_settings: Settings, prepared: Callable[[], Awaitable[None]]) -> None:
            await prepared()
            order.append(f"applied after {len(self.noted)} records")

        self.options._apply = apply
        self.assertEqual(self.ctl("reload")[0], 0)
        self.assertEqual(order, ["applied after 1 records"])
        [record] = self.noted
        self.assertEqual((record["action"], record["outcome"]), ("reload", "success"))
        self.assertEqual((record["keys"], record["operator"]["user"]), (["retry.max_attempts"], "ann"))
        self.assertEqual(self.ctl("undo")[0], 0)
        self.assertEqual((self.noted[1]["action"], self.noted[1]["keys"]), ("undo", ["retry.max_attempts"]))

    def test_a_refusal_names_keys_and_no_values(self) -> None:
        self.set('[retry]\nmax_attempts = 0\n[upstream.ca]\nx = "gate.correct-horse"\n')
        self.assertEqual(self.ctl("reload")[0], 1)
        [record] = self.noted
        self.assertEqual((record["action"], record["outcome"]), ("reload", "refused"))
        self.assertEqual(record["keys"], ["retry.max_attempts"])
        self.assertNotIn("correct-horse", json.dumps(record))

    def test_a_process_that_cannot_apply_them(self) -> None:
        self.refusal = "worker 1 cannot apply them: it has exited"
        self.set("[retry]\nmax_attempts = 3\n")
        self.assertEqual(self.ctl("reload")[0], 1)
        self.assertEqual([each["outcome"] for each in self.noted], ["refused"])

    def test_values_of_secrets_are_in_no_record(self) -> None:
        self.set(f'[[audit_plugins]]\nname = "one"\nkind = "x"\noptions = {{ token = "{SECRET}" }}\n')
        self.ctl("reload")
        self.assertEqual(len(self.noted), 1)
        self.assertNotIn(SECRET, json.dumps(self.noted))

    def test_a_signal(self) -> None:
        self.set("[retry]\nmax_attempts = 3\n")
        self.successResultOf(Deferred.fromCoroutine(self.options.hangup()))
        self.assertEqual(self.noted[0]["operator"], {"way": "signal", "user": None, "uid": None})
