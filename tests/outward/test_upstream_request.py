from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Call
from hospproxy.http.messages import Client, Headers, Json
from hospproxy.outward.upstream_request import (
    UpstreamRequest,
    UpstreamTarget,
    build_message,
    came_by,
    via_name,
)

CONTRACT = load()
HERE = UpstreamTarget.from_url("http://127.0.0.1:3000")
CLIENT = Client(
    peer="10.0.0.1",
    address="192.0.2.7",
    chain=("198.51.100.2", "10.0.0.1"),
    scheme="https",
    host="hosp.example:8443",
    request_id="req-1",
    via="1.0 fred, 1.1",
)


def built(
    operation: str = "listHospitals", client: Client = CLIENT, target: UpstreamTarget = HERE, **call: Json
) -> UpstreamRequest:
    return build_message(Call(CONTRACT.operation(operation), **call), client, target)


def value(message: UpstreamRequest, name: bytes) -> bytes | None:
    return Headers(message.headers).get(name)


class Where(SynchronousTestCase):
    def test_target(self) -> None:
        for url, authority in (
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://hosp.example", "hosp.example"),
            ("https://hosp.example:443/", "hosp.example"),
            ("http://[::1]:80", "[::1]"),
            ("https://[::1]:80", "[::1]:80"),
        ):
            self.assertEqual(UpstreamTarget.from_url(url).authority, authority)

    def test_path_and_query(self) -> None:
        message = built("listPatients", query=(("hospital_id", "7"), ("q", "a b&c=ü")))
        self.assertEqual(message.target, "/patients?hospital_id=7&q=a%20b%26c%3D%C3%BC")
        self.assertEqual(built("getNote", path=("12",)).target, "/notes/12")
        self.assertEqual(built("listPatients", query=(("hospital_id", ""),)).target[-13:], "?hospital_id=")

    def test_under_a_path_of_its_own(self) -> None:
        target = UpstreamTarget.from_url("https://hosp.example/api/v1/")
        self.assertEqual(built("getStatus", target=target).target, "/api/v1/")


class Who(SynchronousTestCase):
    def test_hosp_learns_what_the_client_used(self) -> None:
        message = built()
        self.assertEqual(value(message, b"Host"), b"hosp.example:8443")
        self.assertEqual(value(message, b"X-Forwarded-Proto"), b"https")
        self.assertEqual(value(message, b"X-Forwarded-For"), b"192.0.2.7, 198.51.100.2, 10.0.0.1")
        self.assertEqual(value(message, b"X-Request-Id"), b"req-1")

    def test_a_request_of_our_own(self) -> None:
        message = built(client=Client())
        self.assertEqual(value(message, b"Host"), b"127.0.0.1:3000")
        self.assertIs(value(message, b"X-Forwarded-For"), None)
        self.assertIs(value(message, b"X-Request-Id"), None)

    def test_via_names_every_hop_and_this_one(self) -> None:
        self.assertEqual(value(built(), b"Via"), b"1.0 fred, 1.1 hospproxy")
        own = via_name(b"key of an installation")
        message = build_message(Call(CONTRACT.operation("getStatus")), CLIENT, HERE, own)
        self.assertEqual(value(message, b"Via"), b"1.0 fred, 1.1 " + own.encode())
        self.assertIs(value(built(client=evolve(CLIENT, via="")), b"Via"), None)

    def test_a_loop_is_seen_by_the_name_of_this_installation(self) -> None:
        own, other = via_name(b"one key"), via_name(b"another key")
        for via, seen in (
            (f"1.1 {own}, 1.1", True),
            (f"1.0 fred, HTTP/1.1 {own} (comment), 1.1", True),
            (f"1.1 {other}, 1.1", False),
            ("1.1 hospproxy, 1.1", False),
            ("1.1", False),
            ("", False),
        ):
            self.assertEqual(came_by(via, own), seen, via)

    def test_credentials(self) -> None:
        message = built(authorization=b"Basic YTpi")
        self.assertEqual(value(message, b"Authorization"), b"Basic YTpi")
        self.assertNotIn("YTpi", repr(message))
        self.assertIs(value(built(), b"Authorization"), None)

    def test_nothing_else_is_sent(self) -> None:
        names = {name for name, _ in built(authorization=b"Basic YTpi").headers}
        self.assertEqual(
            names,
            {
                b"Host",
                b"User-Agent",
                b"Accept",
                b"Accept-Encoding",
                b"X-Forwarded-Proto",
                b"X-Forwarded-For",
                b"X-Request-Id",
                b"Via",
                b"Authorization",
            },
        )

    @given(st.builds(Client, address=st.text(), scheme=st.text(), host=st.text(), request_id=st.text()))
    def test_values_are_bytes_whatever_they_hold(self, client: Client) -> None:
        for name, given_value in built(client=client).headers:
            self.assertEqual(given_value.decode("ascii").encode(), given_value, name)


class Bytes(SynchronousTestCase):
    """RFC 9112 §3, §5, §6: nothing that a client sent can end a line, or change where the request ends."""

    def test_a_read_that_leaves_its_connection_open(self) -> None:
        written = built(client=Client(host="h"), authorization=b"Basic YTpi").wire(keep=True)
        self.assertEqual(
            written,
            b"GET /hospitals HTTP/1.1\r\nHost: h\r\nUser-Agent: hospproxy\r\nAccept: */*\r\n"
            b"Accept-Encoding: identity\r\nX-Forwarded-Proto: https\r\nAuthorization: Basic YTpi\r\n\r\n",
        )

    def test_a_write_that_closes_it(self) -> None:
        written = built("createHospital", document={"name": "Barn"}).wire(keep=False)
        head, _, body = written.partition(b"\r\n\r\n")
        self.assertEqual(
            head.split(b"\r\n")[:4],
            [
                b"POST /hospitals HTTP/1.1",
                b"Connection: close",
                b"Content-Length: 15",
                b"Host: hosp.example:8443",
            ],
        )
        self.assertEqual(body, b'{"name":"Barn"}')

    def test_a_post_without_a_body_says_so(self) -> None:
        self.assertIn(b"\r\nContent-Length: 0\r\n", built("createHospital").wire(keep=False))
        self.assertNotIn(b"Content-Length", built("deleteNote", path=("3",)).wire(keep=False))

    def test_a_value_with_a_line_break_is_not_sent(self) -> None:
        for bad in ("a\nb", "a\rb", "a\r\nX: 1", "a\r\n\r\nGET / HTTP/1.1", "a\0b"):
            for client in (Client(host=bad), Client(request_id=bad), Client(address=bad), Client(via=bad)):
                self.assertRaises(ValueError, built(client=client).wire, keep=True)
            self.assertRaises(ValueError, built(accept=bad).wire, keep=True)
            self.assertRaises(ValueError, built(authorization=bad.encode()).wire, keep=True)

    @given(st.text(), st.text(), st.text())
    def test_what_a_path_or_a_query_holds_stays_in_the_target(self, one: str, name: str, other: str) -> None:
        try:
            message = built("getNote", client=Client(), path=(one,), query=((name, other),))
            line = message.wire(keep=True).split(b"\r\n")[0]
        except ValueError:  # validation lets no such value pass
            return
        self.assertRegex(line, rb"\AGET /notes/[!-~]* HTTP/1\.1\Z")


class What(SynchronousTestCase):
    def test_accept(self) -> None:
        for given_accept, sent in (
            ("json", b"application/json"),
            ("html", b"text/html"),
            ("any", b"*/*"),
            ("text/csv", b"text/csv"),
        ):
            self.assertEqual(value(built(accept=given_accept), b"Accept"), sent)
        self.assertEqual(value(built(), b"Accept-Encoding"), b"identity")

    def test_a_document(self) -> None:
        message = built("createHospital", document={"name": "Zoë"})
        self.assertEqual(message.body, '{"name":"Zoë"}'.encode())
        self.assertEqual(value(message, b"Content-Type"), b"application/json")
        self.assertEqual(message.method, "POST")

    def test_null_is_a_body_and_absence_is_none(self) -> None:
        self.assertEqual(built("createHospital", document=None).body, b"null")
        message = built("deleteNote", path=("3",))
        self.assertIs(message.body, None)
        self.assertIs(value(message, b"Content-Type"), None)

    def test_the_body_is_not_shown(self) -> None:
        message = built("createStaff", document={"password": "hunter2"})
        self.assertNotIn("hunter2", repr(evolve(message)))
