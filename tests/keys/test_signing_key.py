from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.secrets import KeyFileError
from hospproxy.keys.signing_key import PublicKeys, Signer, signer_for
from hospproxy.record.trail.hash_chain import is_signed_by, signed


class Keys(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.path = self.folder / "audit-signing.key"

    def test_a_key_is_made_once_with_its_public_key_beside_it(self) -> None:
        first = signer_for(None, self.path)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(signer_for(None, self.path).key_id, first.key_id)
        keys = PublicKeys.read([self.folder / "audit-signing.pub"])
        self.assertTrue(is_signed_by(signed(b'{"a":1}', first.sign), keys.verify))

    def test_a_named_key_is_never_made(self) -> None:
        self.assertRaises(KeyFileError, signer_for, self.folder / "named.key", self.path)
        self.assertFalse(self.folder.exists())

    def test_one_that_others_can_read_is_refused(self) -> None:
        signer_for(None, self.path)
        os.chmod(self.path, 0o644)
        self.assertRaises(KeyFileError, Signer.load, self.path)

    def test_what_is_no_such_key_is_refused_without_a_byte_of_it(self) -> None:
        self.folder.mkdir()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, b"secret")
        os.close(descriptor)
        error = self.assertRaises(KeyFileError, Signer.load, self.path)
        self.assertNotIn("secret", str(error))
        self.assertRaises(KeyFileError, PublicKeys.read, [self.path])
        self.assertRaises(KeyFileError, PublicKeys.read, [self.folder])

    def test_a_signature_holds_for_its_line_and_key_alone(self) -> None:
        signer = Signer.generate()
        line = signed(b'{"a":1}', signer.sign)
        keys = PublicKeys.of([signer.public_pem])
        self.assertTrue(is_signed_by(line, keys.verify))
        self.assertFalse(is_signed_by(line.replace(b"1", b"2", 1), keys.verify))
        self.assertFalse(is_signed_by(b'{"a":1}', keys.verify))
        self.assertFalse(is_signed_by(line, PublicKeys.of([Signer.generate().public_pem]).verify))
        self.assertNotIn("Ed25519PrivateKey", repr(signer))
