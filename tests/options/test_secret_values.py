"""Secrets from files, from the environment and from the options file; and what is shown of them."""

from __future__ import annotations

import json
import os
import tempfile
from base64 import b64encode
from pathlib import Path
from unittest import mock

import attrs
from twisted.trial.unittest import SynchronousTestCase

from hospproxy import checks
from hospproxy.config import ConfigError, Settings
from hospproxy.keys.secrets import KeyFileError
from hospproxy.keys.signing_key import Signer, signer_for
from hospproxy.options.loader import sections
from hospproxy.options.secret_values import SECRETS, content_of, master_key, shared_secret
from hospproxy.options.source import source_of

WORDS = "Mellon-mellon-mellon"
KEY = bytes(range(32))
HOOK = '[alerts]\nwebhook_url = "https://hook.example/x"\n'


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def load(self, text: str, mode: int = 0o600, top: str = "") -> tuple[Settings, tuple[str, ...]]:
        file = self.folder / "hospproxy.toml"
        state = json.dumps(str(self.folder / "state"))
        file.write_text(f'state_dir = {state}\n{top}[upstream]\nurl = "http://127.0.0.1:1"\n{text}')
        file.chmod(mode)
        return checks.load_and_check(source_of(file))

    def problems(self, text: str, mode: int = 0o600, top: str = "") -> tuple[str, ...]:
        problems = self.assertRaises(ConfigError, self.load, text, mode, top).problems
        self.assertNotIn(WORDS, repr(problems))
        return tuple(problems)


class SourceTests(Case):
    def test_in_the_options_file(self) -> None:
        settings, _ = self.load(f'{HOOK}webhook_secret = "{WORDS}"\n')
        self.assertEqual(shared_secret(settings.alerts, "webhook_secret"), WORDS.encode())
        self.assertNotIn(WORDS, repr(settings))

    def test_in_the_environment_it_is_taken_out(self) -> None:
        """Every child process would inherit it."""
        with mock.patch.dict(os.environ, {"HOOK_SECRET": WORDS}):
            settings, _ = self.load(f'{HOOK}webhook_secret_env = "HOOK_SECRET"\n')
            self.assertNotIn("HOOK_SECRET", os.environ)
        self.assertEqual(shared_secret(settings.alerts, "webhook_secret"), WORDS.encode())
        self.assertNotIn(WORDS, repr(settings))

    def test_one_variable_for_two(self) -> None:
        more = '[audit_http]\nenabled = true\nurl = "https://siem.example/"\nsecret_env = "SECRET"\n'
        with mock.patch.dict(os.environ, {"SECRET": WORDS}):
            settings, _ = self.load(f'{HOOK}webhook_secret_env = "SECRET"\n{more}')
        self.assertEqual(
            content_of(settings.alerts, "webhook_secret"), content_of(settings.audit_http, "secret")
        )

    def test_in_systemds_folder(self) -> None:
        """LoadCredential=hook:/etc/…"""
        (self.folder / "hook").write_text(WORDS + "\n")
        (self.folder / "hook").chmod(0o400)
        with mock.patch.dict(os.environ, {"CREDENTIALS_DIRECTORY": str(self.folder)}):
            settings, _ = self.load(f'{HOOK}webhook_secret_file = "$CREDENTIALS_DIRECTORY/hook"\n')
        self.assertEqual(shared_secret(settings.alerts, "webhook_secret"), WORDS.encode())

    def test_without_systemd(self) -> None:
        with mock.patch.dict(os.environ):
            os.environ.pop("CREDENTIALS_DIRECTORY", None)
            (problem,) = self.problems(f'{HOOK}webhook_secret_file = "$CREDENTIALS_DIRECTORY/hook"\n')
        self.assertIn("CREDENTIALS_DIRECTORY is not set", problem)

    def test_a_master_key_as_text(self) -> None:
        for written in (b64encode(KEY).decode(), KEY.hex()):
            settings, _ = self.load("", top=f'master_key = "{written}"\n')
            self.assertEqual(master_key(settings).secret, KEY)
            self.assertNotIn(written, repr(settings))
        self.assertFalse((self.folder / "state").exists())

    def test_a_signing_key_as_text(self) -> None:
        path = self.folder / "key"
        made = Signer.load_or_create(path)
        settings, _ = self.load(f'[audit]\nsigning_key = """\n{path.read_text()}"""\n')
        assert settings.audit.signing_key is not None
        signer = signer_for(None, settings.signing_key_default, settings.audit.signing_key.value)
        self.assertEqual(signer.key_id, made.key_id)
        self.assertFalse(settings.signing_key_default.exists())
        self.assertEqual(settings.signing_key_default.with_suffix(".pub").read_bytes(), made.public_pem)

    def test_every_one_has_three_keys_and_shows_itself_nowhere(self) -> None:
        """A secret that is added to a section must be added to the list, too."""
        listed = {secret.path for secret in SECRETS}
        found = set()
        for name, cls in sections():
            fields = {each.name: each for each in attrs.fields(cls)}
            for each in fields:
                if each.endswith("_env"):
                    plain = each.removesuffix("_env")
                    self.assertIn(f"{plain}_file", fields)
                    self.assertFalse(fields[plain].repr)
                    found.add(f"{name}.{plain}" if name else plain)
        self.assertEqual(found, listed)


class MistakeTests(Case):
    def test_a_file_that_others_can_read(self) -> None:
        for mode in (0o644, 0o640, 0o604):
            (problem,) = self.problems(f'{HOOK}webhook_secret = "{WORDS}"\n', mode)
            self.assertTrue(problem.startswith("alerts.webhook_secret: it is a secret, and "), problem)
            self.assertIn("chmod 600", problem)

    def test_a_password_in_a_url_is_one(self) -> None:
        (problem,) = self.problems(f'[audit_database]\nurl = "postgresql://me:{WORDS}@db/audit"\n', 0o644)
        self.assertTrue(problem.startswith("audit_database.url: it is a secret"), problem)

    def test_without_a_secret_others_may_read_it_and_not_change_it(self) -> None:
        self.assertEqual(self.load("", 0o644)[1], ())
        (warning,) = self.load("", 0o664)[1]
        self.assertIn("others can change it (mode 0664)", warning)

    def test_in_two_ways(self) -> None:
        (problem,) = self.problems(f'{HOOK}webhook_secret = "{WORDS}"\nwebhook_secret_env = "X"\n')
        self.assertIn("more than once (webhook_secret, webhook_secret_env)", problem)

    def test_a_variable_that_is_not_there(self) -> None:
        (problem,) = self.problems(f'{HOOK}webhook_secret_env = "NOT_THERE"\n')
        self.assertIn("alerts.webhook_secret_env: the environment variable NOT_THERE is not set", problem)

    def test_no_message_shows_a_secret(self) -> None:
        self.problems(f'{HOOK}webhook_secret = ["{WORDS}"]\n')
        self.problems(f'{HOOK}webhook_secret_env = "{WORDS}!"\n')
        self.problems(f'[audit_http]\nurl = "https://me:{WORDS}@siem.example/"\n')
        self.problems("", top=f'master_key = "{WORDS}"\n')
        self.problems(f'[audit]\nsigning_key = "{WORDS}"\n')
        self.problems(f'{HOOK}webhook_secret = "{WORDS[:6]}"\n')

    def test_a_file_that_is_not_there(self) -> None:
        section = attrs.evolve(self.load(HOOK)[0].alerts, webhook_secret_file=self.folder / "none")
        self.assertRaises(KeyFileError, shared_secret, section, "webhook_secret")
