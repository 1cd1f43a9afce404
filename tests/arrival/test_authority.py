from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.authority import PublicHosts, parse_authority, without_port
from hospproxy.http.errors import Refused


class AuthorityTests(SynchronousTestCase):
    def test_without_port(self) -> None:
        for authority, host in (("a", "a"), ("a:1", "a"), ("[::1]", "[::1]"), ("[::1]:1", "[::1]"), ("", "")):
            self.assertEqual(without_port(authority), host)

    @given(st.binary(max_size=30))
    def test_what_is_accepted_is_stable(self, value: bytes) -> None:
        """Parsing the result again gives the same, and it has no character that could end a field or a URL's host."""
        try:
            authority = parse_authority(value)
        except Refused:
            return
        self.assertEqual(parse_authority(authority.encode("ascii")), authority)
        self.assertFalse(set(authority) & set("/?#@\\ \r\n\t,%"))


class PublicHostsTests(SynchronousTestCase):
    def test_none_named_serves_any(self) -> None:
        self.assertTrue(PublicHosts().serve("a"))
        self.assertTrue(PublicHosts().serve(""))

    def test_with_and_without_port(self) -> None:
        hosts = PublicHosts.of(["A.example", "b.example:8443", "[::1]"])
        for authority, served in (
            ("a.example", True),
            ("a.example:1", True),
            ("b.example:8443", True),
            ("b.example", False),
            ("b.example:1", False),
            ("[::1]:5", True),
            ("x.a.example", False),
            ("", False),
        ):
            self.assertEqual(hosts.serve(authority), served, authority)
