"""The Forwarded header, read from the right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.front.forwarded import ForwardedHop, hops
from hospproxy.arrival.front.trust import MAX_HOPS, TrustedProxies
from hospproxy.http.messages import Client, Headers

LISTED = TrustedProxies(TrustedProxies.of(["10.0.0.0/8", "2001:db8::/32"]).networks, "forwarded", "forwarded")


def read(*values: bytes) -> list[ForwardedHop]:
    return list(hops(list(values), MAX_HOPS))


def client(*fields: tuple[bytes, bytes], peer: str = "10.0.0.1", trust: TrustedProxies = LISTED) -> Client:
    return trust.identify(peer, "http", "h", Headers(fields), lambda: "new")


def followed(*values: bytes) -> tuple[str, tuple[str, ...], str]:
    found = client(*((b"forwarded", value) for value in values))
    return found.address, found.chain, found.scheme


class FieldTests(SynchronousTestCase):
    def test_a_run_of_spaces_is_gone_through_once(self) -> None:
        """What a client sends stands there too. Going back over it, this took longer than anybody waits."""
        for filling in (b" ", b"\t ", b"a", b"\\x", b'"'):
            long = filling * 200_000
            self.assertLessEqual(len(read(b"for=192.0.2.9;" + long + b"@")), 1)
            self.assertLessEqual(len(read(b'for="' + long + b"@")), 1)

    def test_nodes(self) -> None:
        for node, address in (
            (b"192.0.2.9", "192.0.2.9"),
            (b'"192.0.2.9"', "192.0.2.9"),
            (b'"192.0.2.9:4711"', "192.0.2.9"),
            (b'"192.0.2.9:_port"', "192.0.2.9"),
            (b'"[2001:DB9::0001]"', "2001:db9::1"),
            (b'"[2001:db9::1]:4711"', "2001:db9::1"),
            (b'"[::ffff:192.0.2.9]"', "192.0.2.9"),
            (rb'"192\.0.2.9"', "192.0.2.9"),
            (b"unknown", ""),
            (b"_hidden", ""),
            (b'"_hidden:80"', ""),
            (b'"2001:db9::1"', ""),  # RFC 7239 §6: in brackets
            (b'"[192.0.2.9]"', ""),
            (b"192.0.2.999", ""),
            (b'"192.0.2.9, 10.0.0.1"', ""),
            (b'""', ""),
        ):
            self.assertEqual(read(b"for=" + node), [ForwardedHop(address)], node)

    def test_elements(self) -> None:
        self.assertEqual(
            read(
                b"For=192.0.2.9;Proto=HTTPS;by=203.0.113.4;host=a.example , for=_x ;proto=http",
                b"for=10.0.0.3",
            ),
            [ForwardedHop("10.0.0.3"), ForwardedHop("", "http"), ForwardedHop("192.0.2.9", "https")],
        )
        self.assertEqual(read(b";;for=192.0.2.9;"), [ForwardedHop("192.0.2.9")])
        self.assertEqual(read(b'host="a, for=1.1.1.1";for=192.0.2.9'), [ForwardedHop("192.0.2.9")])
        self.assertEqual(read(rb'host="a\", for=1.1.1.1";for=192.0.2.9'), [ForwardedHop("192.0.2.9")])
        self.assertEqual(read(rb'host="b, for=1.1.1.1\"";for=192.0.2.9'), [ForwardedHop("192.0.2.9")])
        self.assertEqual(read(b"proto=ftp"), [ForwardedHop()])

    def test_what_is_no_element_ends_it(self) -> None:
        for value in (
            b"", b" ", b"192.0.2.9", b"for=a b", b"for=", b"for=1.1.1.1;for=2.2.2.2", b'for="1.1.1.1', b"=a", b"a=b;=",
            b"for =1.1.1.1", b"\xff=1", b";", b'for=1.1.1.1"',
        ):  # fmt: skip
            self.assertEqual(read(b"for=1.1.1.1," + value), [], value)
            self.assertEqual(read(value + b",for=192.0.2.9")[:1], [ForwardedHop("192.0.2.9")], value)

    def test_a_quote_that_is_left_open_swallows_nothing(self) -> None:
        for forged in (b'for="1.1.1.1', b'for="', b'host="a\\', b'"', b'for=1.1.1.1;x="y\\"', b"\\"):
            for said in (b"for=192.0.2.9", b'for="[2001:db9::1]:1";proto=https', b'host="a,b";for=192.0.2.9'):
                for together in ((forged + b", " + said,), (forged, said)):
                    self.assertEqual(read(*together)[0], read(said)[0], together)

    def test_it_is_read_once_even_if_it_is_all_commas_and_quotes(self) -> None:
        self.assertEqual(len(read(b",".join([b"for=10.0.0.2"] * 1000))), MAX_HOPS)
        self.assertEqual(read(b'",' * 8000), [])
        self.assertEqual(read(b"\\" * 8000 + b'"'), [])

    @given(
        st.lists(st.text('for=";,\\ 1.:[]_p', max_size=40), max_size=3),
        st.sampled_from(["10.0.0.9", "192.0.2.9"]),
    )
    def test_whatever_came_before_the_last_element_stands(self, before: list[str], address: str) -> None:
        values = [value.encode() for value in before]
        self.assertEqual(read(*values, b"for=" + address.encode())[0], ForwardedHop(address))

    @given(st.lists(st.binary(max_size=40), max_size=3))
    def test_any_bytes_leave_the_peer_in_charge(self, values: list[bytes]) -> None:
        _, chain, scheme = followed(*values)
        self.assertEqual(chain[-1:] or ("10.0.0.1",), ("10.0.0.1",))
        self.assertIn(scheme, ("http", "https"))

    @given(st.lists(st.binary(max_size=40), max_size=3))
    def test_a_stranger_is_never_believed(self, values: list[bytes]) -> None:
        found = client(*((b"forwarded", value) for value in values), peer="192.0.2.1")
        self.assertEqual(found, Client("192.0.2.1", "192.0.2.1", (), "http", "h", "new"))


class FollowingTests(SynchronousTestCase):
    def test_one_proxy(self) -> None:
        self.assertEqual(followed(b"for=192.0.2.9;proto=https"), ("192.0.2.9", ("10.0.0.1",), "https"))

    def test_what_the_client_put_in_front_is_not_read(self) -> None:
        self.assertEqual(
            followed(b"for=1.1.1.1;proto=https, for=192.0.2.9;proto=http"),
            ("192.0.2.9", ("10.0.0.1",), "http"),
        )

    def test_a_chain_of_proxies(self) -> None:
        """The scheme is what the one nearest the client has seen."""
        self.assertEqual(
            followed(b"for=1.1.1.1;proto=http, for=192.0.2.9;proto=https,for=10.0.0.2;proto=http"),
            ("192.0.2.9", ("10.0.0.2", "10.0.0.1"), "https"),
        )
        self.assertEqual(followed(b"for=192.0.2.9, for=10.0.0.2;proto=https")[2], "https")

    def test_a_name_of_the_proxys_own_ends_the_chain(self) -> None:
        self.assertEqual(followed(b"for=192.0.2.9, for=_x;proto=https"), ("10.0.0.1", (), "https"))

    def test_only_the_field_that_is_named_is_read(self) -> None:
        fields = ((b"forwarded", b"for=192.0.2.9;proto=https"), (b"x-forwarded-for", b"203.0.113.5"),
                  (b"x-forwarded-proto", b"https"), (b"cloudfront-forwarded-proto", b"https"))  # fmt: skip
        seen = {"forwarded": "192.0.2.9", "x-forwarded-for": "203.0.113.5"}
        for name, address in seen.items():
            self.assertEqual(client(*fields, trust=TrustedProxies(LISTED.networks, name)).address, address)
        for name in ("forwarded", "x-forwarded-proto", "cloudfront-forwarded-proto"):
            trust = TrustedProxies(LISTED.networks, "forwarded", name)
            self.assertEqual(client(*fields, trust=trust).scheme, "https")
            others = [field for field in fields if field[0] != name.encode()]
            self.assertEqual(client(*others, trust=trust).scheme, "http", name)
