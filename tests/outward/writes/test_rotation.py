"""Each start has another master key and knows the previous one: repeated requests get the same responses as before."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.encryption import Seal
from hospproxy.keys.secrets import MasterKey
from tests.rig import STAFF2, Rig

from . import test_again, test_model


class RotatingRig(Rig):
    """A rig whose process has another master key after each crash, and knows the previous ones."""

    def __init__(self, **options: Any) -> None:
        master = options.setdefault("master", MasterKey(bytes([1]) * 32))
        self.master: MasterKey = master
        super().__init__(
            **options,
            key=master.subkey("equal writes"),
            former=[each.subkey("equal writes") for each in master.further],
            seal=Seal.of(master, "ledger"),
        )

    def crash(self, **options: Any) -> Rig:
        before = (MasterKey(self.master.secret), *self.master.further)
        after = bytes([self.master.secret[0] % 255 + 1]) * 32
        return super().crash(master=MasterKey(after, before), **options)


class AgainTests(test_again.AgainTests):
    """All tests of repeated requests, with key rotation."""

    def test_with_another_master_key_what_was_left_is_named_and_the_proxy_starts(self) -> None:
        """Not tested here, because every key is known. See ForgottenKeyTests."""

    def setUp(self) -> None:
        self.patch(test_again, "Rig", RotatingRig)
        super().setUp()

    def test_another_body_under_a_key_of_before(self) -> None:
        self.send(key=b"k")
        self.rig = self.rig.crash()
        self.assertEqual(self.send({**test_again.NOTE, "body": "another"}, key=b"k").status, 422)

    def test_what_is_still_open_is_the_one_that_is_asked_for_again(self) -> None:
        self.hosp.faults = [("after", test_again.RESET)]
        self.hosp.read_faults = [500] * 40
        self.sending()
        self.rig = self.rig.crash()
        self.rig.clock.pump([0.1] * 5)
        self.hosp.read_faults = [500] * 2
        self.id_of(self.send())
        self.assertEqual(len(self.stored()), 1)

    def test_outcomes_of_before(self) -> None:
        """Only its author can read it."""
        self.hosp.faults = [("after", test_again.RESET)]
        self.hosp.read_faults = [500] * 9999
        reference = json.loads(self.send(key=b"k").body)["reference"]
        self.hosp.read_faults = []
        self.rig = self.rig.crash()
        target = f"/.hospproxy/outcomes/{reference}"
        self.assertEqual(self.rig.get(self.rig.send("GET", target, auth=STAFF2)).status, 404)
        self.assertEqual(self.rig.get(self.rig.send("GET", target)).status, 200)


class ExactlyOnceTests(test_model.ExactlyOnceTests):
    """The exactly-once model, with key rotation."""

    def setUp(self) -> None:
        self.patch(test_model, "Rig", RotatingRig)


class ForgottenKeyTests(SynchronousTestCase):
    """The previous key is missing: its values cannot be read, and their content is never guessed."""

    def test_it(self) -> None:
        rig = RotatingRig()
        first = rig.get(rig.send("POST", "/notes", test_again.NOTE, headers=[(b"Idempotency-Key", b"k")]))
        rig.kill()
        after = RotatingRig(
            disk=rig.disk,
            clock=rig.world,
            hosp=rig.hosp,
            references=rig.references,
            master=MasterKey(b"z" * 32),
        )
        again = after.get(after.send("POST", "/notes", test_again.NOTE, headers=[(b"Idempotency-Key", b"k")]))
        self.assertNotEqual(json.loads(again.body)["id"], json.loads(first.body)["id"])
