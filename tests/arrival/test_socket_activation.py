"""Sockets that systemd passes: which are taken, to which listeners they belong, and what is refused."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.listeners import ListenerError
from hospproxy.arrival.socket_activation import ADMIN, LISTENERS, PassedSocket, assigned, take

PID = 4711


def listening(host: str = "127.0.0.1", backlog: int | None = 5) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.bind((host, 0))
    if backlog is not None:
        made.listen(backlog)
    return made


class TakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two sockets with numbers that follow one another, as systemd gives them."""
        first, second = listening(), listening()
        self.first = 200
        for number, each in enumerate((first, second), self.first):
            os.dup2(each.fileno(), number)
            each.close()
        self.addCleanup(os.close, self.first)
        self.addCleanup(os.close, self.first + 1)

    def take(self, **variables: str) -> list[PassedSocket]:
        self.environment = {"HOME": "/", **variables}
        return take(self.environment, PID, self.first)

    def test_they_are_taken_with_their_names_and_not_inherited(self) -> None:
        os.set_inheritable(self.first, True)
        passed = self.take(LISTEN_PID=str(PID), LISTEN_FDS="2", LISTEN_FDNAMES="listeners:admin")
        self.assertEqual([each.name for each in passed], ["listeners", "admin"])
        self.assertEqual([each.taken.detach() for each in passed], [200, 201])
        self.assertFalse(os.get_inheritable(self.first))
        self.assertFalse(os.get_blocking(self.first))  # several processes may accept from it
        self.assertEqual(self.environment, {"HOME": "/"})

    def test_without_names_they_are_for_clients(self) -> None:
        passed = self.take(LISTEN_PID=str(PID), LISTEN_FDS="2")
        self.assertEqual([each.name for each in passed], [LISTENERS, LISTENERS])
        for each in passed:
            each.taken.detach()

    def test_those_of_another_process_are_left_alone(self) -> None:
        for variables in ({}, {"LISTEN_PID": "1", "LISTEN_FDS": "2"}):
            self.assertEqual(self.take(**variables), [])
            self.assertEqual(self.environment, {"HOME": "/"})

    def test_what_systemd_does_not_say_is_an_error(self) -> None:
        for fds, names in (("two", ""), ("", ""), ("-1", ""), ("2", "one"), ("1", "one:two")):
            with self.assertRaises(ListenerError):
                self.take(LISTEN_PID=str(PID), LISTEN_FDS=fds, LISTEN_FDNAMES=names)

    def test_a_descriptor_that_is_no_socket(self) -> None:
        self.first = os.open(os.devnull, os.O_RDONLY)
        try:
            with self.assertRaisesRegex(ListenerError, "is no socket"):
                self.take(LISTEN_PID=str(PID), LISTEN_FDS="1")
        finally:
            os.close(self.first)
            self.first = 200


class AssignedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.one, self.two = listening(), listening()
        for each in (self.one, self.two):
            self.addCleanup(each.close)
        self.urls = [f"https://127.0.0.1:{each.getsockname()[1]}" for each in (self.one, self.two)]

    def test_each_goes_to_the_listener_at_its_address(self) -> None:
        for name in (LISTENERS, "hospproxy.socket"):
            passed = [PassedSocket(name, self.two), PassedSocket(name, self.one)]
            self.assertEqual(assigned(passed, self.urls, None).clients, (self.one, self.two))

    def test_a_listener_without_a_socket_opens_its_own(self) -> None:
        passed = assigned([PassedSocket(LISTENERS, self.two)], self.urls, self.urls[0])
        self.assertEqual((passed.clients, passed.admin, passed.any), ((None, self.two), (), True))
        self.assertFalse(assigned([], self.urls, None).any)

    def test_the_admin_listener_is_found_by_its_name(self) -> None:
        passed = assigned([PassedSocket(ADMIN, self.one)], self.urls[1:], self.urls[0])
        self.assertEqual((passed.clients, passed.admin), ((None,), (self.one,)))

    def test_an_ipv6_address_in_another_spelling(self) -> None:
        six = listening("::1")
        self.addCleanup(six.close)
        url = f"http://[0:0:0:0:0:0:0:1]:{six.getsockname()[1]}"
        self.assertEqual(assigned([PassedSocket(LISTENERS, six)], [url], None).clients, (six,))

    def refused(self, words: str, *passed: PassedSocket, admin: str | None = None) -> None:
        with self.assertRaisesRegex(ListenerError, words):
            assigned(passed, self.urls[:1], admin)

    def test_one_that_belongs_to_no_listener_names_both_sides(self) -> None:
        self.refused(
            f"at 127.0.0.1:{self.two.getsockname()[1]}, and the listeners are {self.urls[0]}",
            PassedSocket(LISTENERS, self.two),
        )

    def test_the_same_address_twice(self) -> None:
        self.refused("the listeners are", *[PassedSocket(LISTENERS, self.one)] * 2)

    def test_an_admin_socket_elsewhere_or_without_an_admin_listener(self) -> None:
        self.refused("admin.url is not set", PassedSocket(ADMIN, self.two))
        self.refused(f"admin.url is {self.urls[0]}", PassedSocket(ADMIN, self.two), admin=self.urls[0])

    def test_an_unknown_name(self) -> None:
        self.refused("must be listeners or admin", PassedSocket("metrics", self.one))

    def test_one_that_does_not_listen(self) -> None:
        bound = listening(backlog=None)
        self.addCleanup(bound.close)
        self.refused("does not listen", PassedSocket(LISTENERS, bound))
        local, other = socket.socketpair()
        for each in (local, other):
            self.addCleanup(each.close)
        self.refused("does not listen", PassedSocket(LISTENERS, local))
