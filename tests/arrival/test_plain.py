from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.line import RequestLine
from hospproxy.arrival.plain import PlainHttpMode, PlainPolicy
from hospproxy.http.messages import Client

HTTP = Client(host="h:8080", scheme="http")
HTTPS = Client(host="h:8080", scheme="https")


class PlainTests(SynchronousTestCase):
    def judge(
        self, policy: PlainHttpMode, method: bytes, client: Client, port: int = 443
    ) -> tuple[int, bytes | None] | None:
        refusal = PlainPolicy(policy, port).judge(RequestLine(method, b"/a%20b", b"c=d"), client)
        return None if refusal is None else (refusal.status, refusal.headers.get(b"location"))

    def test_reject(self) -> None:
        """Every request is refused, even one that a gateway received by HTTPS."""
        for method in (b"GET", b"POST"):
            for client in (HTTP, HTTPS):
                self.assertEqual(self.judge(PlainHttpMode.REJECT, method, client), (403, None))

    def test_serve(self) -> None:
        self.assertIsNone(self.judge(PlainHttpMode.SERVE, b"POST", HTTP))

    def test_redirect(self) -> None:
        for method in (b"GET", b"HEAD"):
            self.assertEqual(self.judge(PlainHttpMode.REDIRECT, method, HTTP), (308, b"https://h/a%20b?c=d"))
            self.assertEqual(
                self.judge(PlainHttpMode.REDIRECT, method, HTTP, 8443), (308, b"https://h:8443/a%20b?c=d")
            )

    def test_only_reading_is_redirected(self) -> None:
        for method in (b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"):
            self.assertEqual(self.judge(PlainHttpMode.REDIRECT, method, HTTP), (403, None))

    def test_no_host_no_redirect(self) -> None:
        self.assertEqual(self.judge(PlainHttpMode.REDIRECT, b"GET", Client(scheme="http")), (403, None))

    def test_behind_a_listed_proxy_that_ends_tls(self) -> None:
        """A redirect would loop for ever."""
        self.assertIsNone(self.judge(PlainHttpMode.REDIRECT, b"POST", HTTPS))
