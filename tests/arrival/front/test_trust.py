"""Which peers are trusted to name the client."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.front.trust import MAX_HOPS, TrustedProxies, display_address, parse_address
from hospproxy.http.messages import Client, Headers

LISTED = TrustedProxies.of(["10.0.0.0/8", "2001:db8::/32"])


def identify(peer: str, *fields: tuple[bytes, bytes], trust: TrustedProxies = LISTED) -> Client:
    return trust.identify(peer, "http", "h", Headers(fields), lambda: "new")


def forwarded(peer: str, *values: bytes) -> tuple[str, tuple[str, ...]]:
    client = identify(peer, *((b"x-forwarded-for", value) for value in values))
    return client.address, client.chain


class TrustTests(SynchronousTestCase):
    def test_a_stranger_is_not_believed(self) -> None:
        client = identify(
            "192.0.2.1",
            (b"x-forwarded-for", b"192.0.2.9"),
            (b"x-forwarded-proto", b"https"),
            (b"x-request-id", b"x"),
        )
        self.assertEqual(client, Client("192.0.2.1", "192.0.2.1", (), "http", "h", "new"))

    def test_nobody_is_listed_by_default(self) -> None:
        for peer in ("127.0.0.1", "::1", "10.0.0.1"):
            client = identify(peer, (b"x-forwarded-for", b"192.0.2.9"), trust=TrustedProxies())
            self.assertEqual(client.address, peer)

    def test_one_proxy(self) -> None:
        self.assertEqual(forwarded("10.0.0.1", b"192.0.2.9"), ("192.0.2.9", ("10.0.0.1",)))

    def test_what_the_client_put_in_front_is_not_read(self) -> None:
        self.assertEqual(forwarded("10.0.0.1", b"1.1.1.1, 192.0.2.9"), ("192.0.2.9", ("10.0.0.1",)))
        self.assertEqual(forwarded("10.0.0.1", b"10.0.0.5, 192.0.2.9"), ("192.0.2.9", ("10.0.0.1",)))

    def test_a_chain_of_proxies(self) -> None:
        self.assertEqual(
            forwarded("10.0.0.1", b"1.1.1.1, 192.0.2.9,10.0.0.3", b"10.0.0.2"),
            ("192.0.2.9", ("10.0.0.3", "10.0.0.2", "10.0.0.1")),
        )

    def test_a_client_inside_the_listed_network(self) -> None:
        self.assertEqual(forwarded("10.0.0.1", b"10.0.0.9"), ("10.0.0.9", ("10.0.0.1",)))

    def test_nonsense_ends_the_chain(self) -> None:
        for value in (
            b"192.0.2.9, unknown",
            b"",
            b"192.0.2.9, ",
            b"192.0.2.9, [::1",
            b"192.0.2.9, a:1",
            b"\xff",
        ):
            self.assertEqual(forwarded("10.0.0.1", value), ("10.0.0.1", ()), value)

    def test_nothing_said(self) -> None:
        self.assertEqual(forwarded("10.0.0.1"), ("10.0.0.1", ()))

    def test_a_chain_too_long(self) -> None:
        address, chain = forwarded("10.0.0.1", b", ".join([b"192.0.2.9"] + [b"10.0.0.2"] * 3000))
        self.assertEqual((address, len(chain)), ("10.0.0.2", MAX_HOPS))

    def test_how_addresses_are_written(self) -> None:
        for value, address in (
            (b"192.0.2.9:4711", "192.0.2.9"),
            (b"[2001:db9::1]", "2001:db9::1"),
            (b"[2001:db9::1]:4711", "2001:db9::1"),
            (b"2001:DB9::0001", "2001:db9::1"),
            (b"::ffff:192.0.2.9", "192.0.2.9"),
            (b"fe80::1%eth0", "fe80::1"),
        ):
            self.assertEqual(forwarded("10.0.0.1", value)[0], address, value)

    def test_a_peer_on_a_dual_stack_socket(self) -> None:
        self.assertEqual(display_address("::ffff:10.0.0.1"), "10.0.0.1")
        self.assertEqual(display_address("nowhere"), "nowhere")
        self.assertEqual(forwarded(display_address("::ffff:10.0.0.1"), b"192.0.2.9")[0], "192.0.2.9")
        self.assertEqual(forwarded("2001:db8::5", b"192.0.2.9"), ("192.0.2.9", ("2001:db8::5",)))

    def test_the_scheme(self) -> None:
        for values, scheme in (
            ([b"https"], "https"),
            ([b"HTTPS"], "https"),
            ([b"https, http"], "http"),
            ([b"http", b"https"], "https"),
            ([b"ftp"], "http"),
            ([b""], "http"),
            ([], "http"),
        ):
            client = identify("10.0.0.1", *((b"x-forwarded-proto", value) for value in values))
            self.assertEqual(client.scheme, scheme, values)

    def test_the_request_id(self) -> None:
        for values, expected in (
            ([b"a-b_c.1"], "a-b_c.1"),
            ([b"x" * 128], "x" * 128),
            ([b"x" * 129], "new"),
            ([b"a b"], "new"),
            ([b'"'], "new"),
            ([b"\xc3\xa4"], "new"),
            ([b""], "new"),
            ([b"a", b"b"], "new"),
            ([], "new"),
        ):
            client = identify("10.0.0.1", *((b"x-request-id", value) for value in values))
            self.assertEqual(client.request_id, expected, values)

    def test_a_network_that_is_none(self) -> None:
        self.assertRaises(ValueError, TrustedProxies.of, ["10.0.0.0/33"])

    @given(st.text(max_size=40))
    def test_any_text_is_an_address_or_none(self, text: str) -> None:
        address = parse_address(text)
        self.assertTrue(address is None or parse_address(str(address)) == address)

    @given(st.lists(st.binary(max_size=40), max_size=3))
    def test_any_field_leaves_the_peer_in_charge(self, values: list[bytes]) -> None:
        """Who is the last in the chain is never what a field says."""
        _, chain = forwarded("10.0.0.1", *values)
        self.assertEqual(chain[-1:] or ("10.0.0.1",), ("10.0.0.1",))
