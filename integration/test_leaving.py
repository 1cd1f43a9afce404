"""Clients that reset their connections: HOSP, which does not notice, never has more in hand than it can bear."""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack

import pytest_twisted

from .http_client import ask, basic, connect, control, journal
from .processes import Processes, Proxy
from .test_breaker import gauge
from .test_fates import until

NAMES = 60


def reset(connection: socket.socket) -> None:
    """Close with a reset instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest_twisted.ensureDeferred
async def test_sixty_unknown_names_from_one_address_are_five_in_hand(processes: Processes) -> None:
    hosp = await processes.hosp("--delay", "fixed:3", "--places", "0")
    proxy = await processes.proxy(hosp.url)
    with ExitStack() as stack:
        opened = []
        for number in range(NAMES):
            connection = stack.enter_context(connect(proxy.plain_url))
            head = f"GET /notes HTTP/1.1\r\nHost: a\r\nAuthorization: {basic(f'nobody{number}', 'x')}\r\n\r\n"
            connection.sendall(head.encode())
            opened.append(connection)

        async def all_are_here() -> bool:
            return (
                await gauge(proxy, "gate_in_flight") == 5 and await gauge(proxy, "gate_waiting") == NAMES - 5
            )

        await until(all_are_here, "five are at HOSP and the rest wait", 90.0)
        # In order of arrival: each slot that became free would go to the next one.
        while opened:
            for _ in range(5):
                reset(opened.pop(0))

            async def they_have_left() -> bool:
                return await gauge(proxy, "arrival_connections") == len(opened)

            await until(they_have_left, "the proxy has noticed", 90.0)
    assert (await control(hosp.control_url, "GET", "/stats"))["max_working"] == 5
    assert await gauge(proxy, "gate_in_flight") == await gauge(proxy, "gate_left_behind") == 5

    async def all_is_over() -> bool:
        return await gauge(proxy, "gate_in_flight") == 0

    await until(all_is_over, "HOSP has finished", 90.0)
    assert (await control(hosp.control_url, "GET", "/stats"))["max_working"] == 5
    asked = len(await journal(hosp.control_url, "request"))
    assert asked == 5
    # No client got HOSP's responses, but the proxy learned from them.
    assert await gauge(proxy, "admission_failures_total") == asked
    answer = await ask(proxy.plain_url, "GET", "/notes", user="nobody0", password="x")
    assert answer.status == 401
    assert len(await journal(hosp.control_url, "request")) == asked, "it was refused a moment ago"


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_is_killed_and_started_again_counts_what_hosp_has_in_hand(
    processes: Processes,
) -> None:
    hosp = await processes.hosp("--delay", "fixed:100", "--places", "0")  # a start may take a while
    slow = "[gate]\nslow_s = 100.0\n[identity]\nenabled = false\n"
    slow += "".join(f"[{part}]\nenabled = false\n" for part in ("ownership", "screening", "cache"))
    first = await processes.proxy(hosp.url, options=slow)

    def begin(proxy: Proxy, number: int) -> None:
        path = f"/patients/{number}"
        ask(proxy.plain_url, "GET", path, user="staff1").addErrback(lambda _: None)

    for number in range(1, 6):
        begin(first, number)

    async def working(count: int) -> bool:
        return (await control(hosp.control_url, "GET", "/stats"))["working"] == count

    await until(lambda: working(5), "five are at HOSP", 90.0)
    await first.stop("KILL")
    second = await processes.proxy(hosp.url, options=slow, state=first.state)
    assert await gauge(second, "gate_left_behind") == 5
    for number in range(6, 11):
        begin(second, number)

    async def all_wait() -> bool:
        return await gauge(second, "gate_waiting") == 5

    await until(all_wait, "those who come wait", 90.0)
    asked = await control(hosp.control_url, "GET", "/stats")
    assert (asked["working"], asked["max_working"]) == (5, 5)
    await second.stop("KILL")  # a drain would wait for responses that HOSP is still far from sending
