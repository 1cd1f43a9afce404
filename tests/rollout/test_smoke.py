"""What is expected of a response, and what differs."""

from __future__ import annotations

from typing import Any

from rollout.plan import SmokeRequest
from rollout.smoke import differences
from rollout.system import Reply
from twisted.trial.unittest import SynchronousTestCase

REPLY = Reply(
    200,
    {"content-type": "application/json", "strict-transport-security": "max-age=1"},
    b'{"id": 7, "items": [{"name": "Rex"}, {"name": "Ada"}]}',
    "TLSv1.2",
)


class DifferenceTests(SynchronousTestCase):
    def differs(self, **wanted: Any) -> list[str]:
        return list(differences(SmokeRequest(name="x", url="https://x", **wanted), REPLY))

    def test_as_expected(self) -> None:
        json = {"id": 7, "items.0.name": "Rex", "items.length": 2}
        fields = {"content-type": "json", "strict-transport-security": ""}
        self.assertEqual(self.differs(json=json, fields=fields, tls="TLSv1.2"), [])

    def test_each_difference(self) -> None:
        self.assertIn("status 200, not 401", self.differs(status=401)[0])
        self.assertEqual(self.differs(fields={"via": ""}), ["no header via"])
        self.assertIn("without 'xml'", self.differs(fields={"content-type": "xml"})[0])
        self.assertEqual(self.differs(tls="TLSv1.3"), ["TLSv1.2, not at least TLSv1.3"])
        self.assertEqual(self.differs(json={"id": 8}), ["id is 7, not 8"])
        for missing in ("other", "items.2.name", "items.x", "id.length"):
            self.assertEqual(self.differs(json={missing: 1}), [f"no {missing} in the body"])

    def test_no_json(self) -> None:
        wanted = SmokeRequest(name="x", url="http://x", json={"id": 7}, tls="TLSv1.2")
        self.assertEqual(
            list(differences(wanted, Reply(200, {}, b"<html>"))),
            ["no TLS, not at least TLSv1.2", "the body is not JSON"],
        )
