"""scripts/registry_tags.py deletes images of old builds, and no others."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from registry_tags import Registry, RegistryFailed, Reply, Tag, clean, outdated  # noqa: E402


def commit(number: int) -> str:
    return f"{number:040x}"


class FakeRegistry:
    """A registry with two tags on each page.

    :param tags: name → (digest, day of its creation; 0 if its configuration does not say).
    :param bearer: whether it wants a token.
    """

    def __init__(
        self, tags: Mapping[str, tuple[str, int]], *, bearer: bool = False, deletes: bool = True
    ) -> None:
        self.tags = dict(tags)
        self.bearer = bearer
        self.deletes = deletes
        self.deleted: list[str] = []
        self.seen: list[tuple[str, str]] = []

    def ask(self, method: str, url: str, fields: Mapping[str, str]) -> Reply:
        authorization = fields.get("Authorization", "")
        self.seen.append((url, authorization))
        if url.startswith("https://tokens/"):
            return Reply(200, {}, b'{"token": "t0"}')
        if self.bearer and authorization != "Bearer t0":
            return Reply(401, {"www-authenticate": 'Bearer realm="https://tokens/get",service="r"'})
        path, _, query = url.removeprefix("https://registry/v2/a/b/").partition("?")
        kind, _, name = path.partition("/")
        if kind == "tags":
            begin = int(query.partition("at=")[2] or 0)
            names = list(self.tags)
            more = (
                {"link": f'</v2/a/b/tags/list?at={begin + 2}>; rel="next"'} if begin + 2 < len(names) else {}
            )
            return Reply(200, more, json.dumps({"tags": names[begin : begin + 2]}).encode())
        if method == "DELETE":
            if self.deletes:
                self.deleted.append(name)
            return Reply(202 if self.deletes else 405)
        if kind == "blobs":
            day = int(name.partition(":")[2])
            return Reply(200, {}, json.dumps({"created": f"2026-11-{day:02}"} if day else {}).encode())
        digest, day = self.tags[name]
        manifest = {"config": {"digest": f"config:{day}"}}
        return Reply(200, {"docker-content-digest": digest}, json.dumps(manifest).encode())

    def clean(self, keep: int, protected: tuple[str, ...] = (), *, dry_run: bool = False) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            clean(Registry("registry/a/b", "Basic own", self.ask), keep, protected, dry_run=dry_run)
        return out.getvalue()


TAGS = {commit(day): (f"sha256:{day}", day) for day in range(1, 6)}


class RegistryTests(SynchronousTestCase):
    def test_the_oldest_go(self) -> None:
        registry = FakeRegistry(TAGS)
        said = registry.clean(3)
        self.assertEqual(registry.deleted, ["sha256:2", "sha256:1"])
        self.assertIn(f"deleted {commit(1)} of 2026-11-01", said)

    def test_a_dry_run(self) -> None:
        registry = FakeRegistry(TAGS)
        self.assertEqual(registry.clean(3, dry_run=True).count("would delete"), 2)
        self.assertEqual(registry.deleted, [])

    def test_with_atoken(self) -> None:
        registry = FakeRegistry(TAGS, bearer=True)
        registry.clean(4)
        self.assertEqual(registry.deleted, ["sha256:1"])
        (_, first), (token, own), *others = registry.seen
        self.assertEqual((first, own), ("Basic own", "Basic own"))
        self.assertIn("scope=repository%3Aa%2Fb%3Apull%2Cdelete", token)
        self.assertEqual({authorization for _, authorization in others}, {"Bearer t0"})

    def test_a_registry_that_does_not_delete(self) -> None:
        registry = FakeRegistry(TAGS, deletes=False)
        self.assertIn("does not allow deletion", registry.clean(1))

    def test_one_that_fails(self) -> None:
        registry = Registry("registry/a/b", "", lambda *_: Reply(500))
        self.assertRaises(RegistryFailed, registry.tags)


class OutdatedTests(SynchronousTestCase):
    def names(self, tags: list[Tag], keep: int, *protected: str) -> list[str]:
        return [each.digest for each in outdated(tags, keep, protected)]

    def test_releases_stay_with_all_their_tags(self) -> None:
        tags = [
            Tag(commit(1), "one", "2026-01"),
            Tag("1.5.0", "one", "2026-01"),
            Tag("latest", "two", "2026-01"),
        ]
        self.assertEqual(self.names([*tags, Tag(commit(3), "three", "2026-01")], 0), ["three"])

    def test_what_is_protected_stays(self) -> None:
        tags = [Tag(commit(1), "one", "2026-01"), Tag(commit(2), "two", "2026-02")]
        self.assertEqual(self.names(tags, 0, commit(1)), ["two"])

    def test_an_image_of_unknown_age_stays(self) -> None:
        self.assertEqual(self.names([Tag(commit(1), "one", "")], 0), [])
