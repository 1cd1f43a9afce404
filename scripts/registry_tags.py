"""Delete the images of old builds from the registry: tags that are a commit's hash, except for the newest.

    python scripts/registry_tags.py images.example.org/hospital/hospproxy --keep 20 --protect HASH [--dry-run]

REGISTRY_USER and REGISTRY_PASSWORD are the credentials. Tags of another form (1.5.0) are never deleted, and neither is
an image that also has such a tag: deleting a manifest removes all of its tags. The registry frees the space when it
collects garbage. It speaks the API of the OCI distribution specification, version 1.1.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_TIMEOUT_S = 30.0
_MOST_PAGES = 1000


class RegistryFailed(Exception):
    """The registry gave no usable reply; the message says to what."""


@dataclass(frozen=True)
class Reply:
    """An HTTP response.

    :param fields: header names in lower case.
    """

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Ask = Callable[[str, str, Mapping[str, str]], Reply]
"""Sends a request: method, URL, headers."""


@dataclass(frozen=True)
class Tag:
    """One tag.

    :param digest: of the manifest that it names.
    :param created: when its image was built, as ISO 8601; "" if the registry does not say.
    """

    name: str
    digest: str
    created: str


def outdated(tags: Iterable[Tag], keep: int, protected: Iterable[str]) -> list[Tag]:
    """Choose the tags to delete, one for each digest.

    :param keep: how many images of commits stay, the newest ones.
    :param protected: names of tags that stay in any case.
    """
    every = list(tags)
    shielded = {each.digest for each in every if not _COMMIT.fullmatch(each.name) or each.name in protected}
    images = {each.digest: each for each in every if each.digest not in shielded}
    newest_first = sorted(images.values(), key=lambda each: (each.created, each.name), reverse=True)
    # One whose age is unknown may be the newest: it stays.
    return [each for each in newest_first[keep:] if each.created]


class Registry:
    """One repository of a registry.

    :param where: host and path, such as ``images.example.org/hospital/hospproxy``.
    :param authorization: "" for none.
    """

    def __init__(self, where: str, authorization: str, ask: Ask) -> None:
        host, _, self._path = where.partition("/")
        self._base = f"https://{host}"
        self._own = authorization
        self._authorization = authorization
        self._ask = ask

    def tags(self) -> list[Tag]:
        """Read all tags.

        :raise RegistryFailed: they could not be read completely.
        """
        names: list[str] = []
        url = f"{self._base}/v2/{self._path}/tags/list?n=100"
        for _ in range(_MOST_PAGES):
            reply = self._good("GET", url)
            names += json.loads(reply.body).get("tags") or []
            following = re.search(r'<([^>]+)>; *rel="?next', reply.fields.get("link", ""))
            if following is None:
                return [self._tag(name) for name in names]
            url = urllib.parse.urljoin(url, following[1])
        raise RegistryFailed(f"{self._path}: the list of tags does not end")

    def delete(self, tag: Tag) -> bool:
        """Delete the image of a tag; False if the registry does not allow it."""
        url = f"{self._base}/v2/{self._path}/manifests/{tag.digest}"
        reply = self._send("DELETE", url)
        if reply.status in (202, 404):  # 404: somebody else was faster
            return True
        if reply.status == 405:
            return False
        raise RegistryFailed(f"DELETE {url}: {reply.status}")

    def _tag(self, name: str) -> Tag:
        url = f"{self._base}/v2/{self._path}/manifests/{name}"
        reply = self._good("GET", url, Accept=_MANIFESTS)
        digest = reply.fields.get("docker-content-digest", "")
        if not digest:
            raise RegistryFailed(f"GET {url}: no Docker-Content-Digest")
        return Tag(name, digest, self._created(json.loads(reply.body)))

    def _created(self, manifest: Mapping[str, Any]) -> str:
        if manifest.get("manifests"):  # an index: its first image says it
            first = manifest["manifests"][0]["digest"]
            url = f"{self._base}/v2/{self._path}/manifests/{first}"
            manifest = json.loads(self._good("GET", url, Accept=_MANIFESTS).body)
        config = manifest.get("config", {}).get("digest")
        if not config:
            return ""
        document = json.loads(self._good("GET", f"{self._base}/v2/{self._path}/blobs/{config}").body)
        return str(document.get("created", ""))

    def _good(self, method: str, url: str, **fields: str) -> Reply:
        reply = self._send(method, url, **fields)
        if reply.status != 200:
            raise RegistryFailed(f"{method} {url}: {reply.status}")
        return reply

    def _send(self, method: str, url: str, **fields: str) -> Reply:
        reply = self._ask(method, url, self._headers(fields))
        challenge = reply.fields.get("www-authenticate", "")
        if reply.status == 401 and challenge.lower().startswith("bearer "):
            self._authorization = f"Bearer {self._token(challenge)}"
            reply = self._ask(method, url, self._headers(fields))
        return reply

    def _headers(self, fields: Mapping[str, str]) -> dict[str, str]:
        return {**fields, **({"Authorization": self._authorization} if self._authorization else {})}

    def _token(self, challenge: str) -> str:
        values = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = values.pop("realm", "")
        if not realm.startswith("https://"):
            raise RegistryFailed("the registry wants a token from an address that is not https")
        query = urllib.parse.urlencode({**values, "scope": f"repository:{self._path}:pull,delete"})
        reply = self._ask("GET", f"{realm}?{query}", {"Authorization": self._own} if self._own else {})
        if reply.status != 200:
            raise RegistryFailed(f"no token from {realm}: {reply.status}")
        found = json.loads(reply.body)
        return str(found.get("token") or found.get("access_token"))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A registry may keep its blobs elsewhere; credentials must not go there."""

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*arguments)
        if request is not None:
            request.remove_header("Authorization")
        return request


def ask(method: str, url: str, fields: Mapping[str, str]) -> Reply:
    """Send a request over the network.

    :raise RegistryFailed: there is no reply.
    """
    request = urllib.request.Request(url, method=method, headers=dict(fields))  # noqa: S310 - always https
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_S) as reply:
            return Reply(
                reply.status, {key.lower(): value for key, value in reply.headers.items()}, reply.read()
            )
    except urllib.error.HTTPError as error:
        return Reply(error.code, {key.lower(): value for key, value in error.headers.items()})
    except OSError as error:
        raise RegistryFailed(f"{method} {url}: {error}") from None


def clean(registry: Registry, keep: int, protected: Sequence[str], *, dry_run: bool) -> int:
    """Delete what is outdated; return the exit status."""
    for tag in outdated(registry.tags(), keep, protected):
        if not dry_run and not registry.delete(tag):
            print("The registry does not allow deletion; all tags stay.")
            return 0
        print(f"{'would delete' if dry_run else 'deleted'} {tag.name} of {tag.created}")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Delete what is outdated; return 1 if the registry fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("repository", help="such as images.example.org/hospital/hospproxy")
    parser.add_argument("--keep", type=int, default=20, help="images of commits that stay (default 20)")
    parser.add_argument("--protect", action="append", default=[], help="a tag that stays; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    options = parser.parse_args(arguments)
    user, password = os.environ.get("REGISTRY_USER", ""), os.environ.get("REGISTRY_PASSWORD", "")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    registry = Registry(options.repository, f"Basic {pair}" if user else "", ask)
    try:
        return clean(registry, options.keep, options.protect, dry_run=options.dry_run)
    except (RegistryFailed, ValueError, KeyError) as problem:
        print(f"registry_tags: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
