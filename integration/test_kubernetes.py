"""The manifests in deploy/kubernetes, tried as a cluster would: probes by address, and a rolling update under load."""

from __future__ import annotations

import http.client
import json
import select
import threading
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest_twisted
from attrs import define, field
from twisted.internet.threads import deferToThread

from .http_client import ask, basic, journal, unverified
from .kubelet import Cluster
from .processes import Processes
from .scaled_site import Client

CLIENTS = 2
PAUSE_S = 0.1


@define(eq=False)
class KeepingClient:
    """Keeps its connection, as browsers and HTTP libraries do, and opens another one when the server has closed it.

    :ivar failed: requests without a good response. A request on a kept connection that was closed in the same moment
        is sent once more, with the same key (RFC 9112, 9.3.1).
    """

    port: int
    failed: Counter[str] = field(factory=Counter)
    stored: list[str] = field(factory=list)
    over: threading.Event = field(factory=threading.Event)
    _connection: http.client.HTTPSConnection | None = None

    def run(self) -> None:
        """Write until told to stop; runs in a thread."""
        number = 0
        while not self.over.wait(PAUSE_S):
            number += 1
            text = f"kept note {number}"
            try:
                status = self._sent(text)
            except (OSError, http.client.HTTPException) as problem:
                self.failed[repr(problem)] += 1
                self._close()
                continue
            if status == 201:
                self.stored.append(text)
            else:
                self.failed[str(status)] += 1
        self._close()

    def _sent(self, text: str) -> int:
        if self._connection is not None:
            waiting = cast(Any, self._connection.sock)
            if waiting is None or select.select([waiting], [], [], 0)[0]:
                self._close()
        kept = self._connection is not None
        try:
            return self._ask(text)
        except (OSError, http.client.HTTPException):
            self._close()
            if not kept:
                raise
            return self._ask(text)

    def _ask(self, text: str) -> int:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=45, context=unverified()
            )
        note = json.dumps({"title": "Visit", "body": text, "patient_id": 3})
        fields = {"Authorization": basic("staff9"), "Content-Type": "application/json"}
        self._connection.request("POST", "/notes", note, {**fields, "Idempotency-Key": f'"{text}"'})
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest_twisted.ensureDeferred
async def test_a_rolling_update_loses_nothing(processes: Processes, tmp_path: Path) -> None:
    from twisted.internet import reactor

    hosp = await processes.hosp("--delay", "fixed:0.02", "--places", "5")
    cluster = Cluster(processes, tmp_path, hosp.url)
    await cluster.up()
    service = cast(Any, reactor).listenTCP(0, cluster.balancer, interface="127.0.0.1")
    port = service.getHost().port
    clients: list[Client | KeepingClient] = [Client(port, number, False) for number in range(CLIENTS)]
    clients.append(KeepingClient(port))
    running = [deferToThread(client.run) for client in clients]
    first = [pod.proxy for pod in cluster.pods.values()]
    try:
        await cluster.rolling_update()
    finally:
        for client in clients:
            client.over.set()
        for each in running:
            await each
        await service.stopListening()
    assert [client.failed for client in clients] == [Counter()] * len(clients)
    assert [pod.failed for pod in cluster.pods.values()] == [[], []]
    assert [proxy.status for proxy in first] == [0, 0]
    stored = Counter(entry["fields"]["body"] for entry in await journal(hosp.control_url, "stored", "notes"))
    wanted = Counter(text for client in clients for text in client.stored)
    assert len(wanted) > CLIENTS and stored == wanted
    for pod in cluster.pods.values():  # nobody from outside reads more than yes or no
        outside = {"Host": "10.244.1.10:9443"}
        assert (await ask(pod.proxy.admin_url, "GET", "/ready", headers=outside)).json() == {"ready": True}
        assert (await ask(pod.proxy.admin_url, "GET", "/metrics", headers=outside)).status == 401
