"""An upstream that sends the largest and oddest responses allowed, in a process of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import multiprocessing
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

SIZE = (16 << 20) - 4096
"""Just below upstream.max_body_bytes."""

WRONG = "Basic " + base64.b64encode(b"eve:guessed").decode()
"""Credentials that it rejects."""

STAMP = "2021-03-27T17:33:14.049Z"


def _patients(size: int) -> bytes:
    records = (
        b'{"id":%d,"name":"Moss","hospital_id":2,"birthdate":"2020-02-29","created_at":"%b","updated_at":"%b",'
        b'"url":"https://proxy.test/patients/%d.json"}' % (number, STAMP.encode(), STAMP.encode(), number)
        for number in range(size // 210, 0, -1)
    )
    return b"[" + b",".join(records) + b"]"


def _filled(one: bytes, size: int) -> bytes:
    return b"[" + b",".join([one] * (size // (len(one) + 1))) + b"]"


ANSWERS: dict[str, Callable[[int], bytes]] = {
    "patients": _patients,
    "list of numbers": lambda size: _filled(b"1", size),
    "list of lists": lambda size: _filled(b"[]", size),
    "list of objects": lambda size: _filled(b"{}", size),
    "list of ids": lambda size: b"[" + b",".join(b'{"id":%d}' % n for n in range(size // 15)) + b"]",
    "list of wrong records": lambda size: _filled(b'{"id":"x","name":[]}', size),
    "list of brackets": lambda size: b"[" * size,
    "list of one text": lambda size: b'["' + b"a" * (size - 10) + '😀"]'.encode(),
    "record with one text": lambda size: b'{"id":1,"name":"' + b"a" * (size - 30) + '😀"}'.encode(),
    "record with numbers": lambda size: b'{"id":1,"name":' + _filled(b"1", size)[:-41] + b"1]}",
    "record with keys": lambda size: b'{"id":1,' + b",".join(b'"%x":1' % n for n in range(size // 12)) + b"}",
}
"""Responses by name. The path's id, or its filter, selects one."""

FRUGAL = frozenset(name for name in ANSWERS if name.startswith("record"))
"""Responses to a request for one record."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    size = SIZE

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if self.headers.get("Authorization") == WRONG:
            self._answer(401, b"no", "text/plain")
        elif path == "/staffs/me":
            self._answer(200, json.dumps({"id": 1, "name": "eve"}).encode())
        elif path == "/hospitals":
            self._answer(200, b'[{"id":1,"name":"General"}]')
        else:
            number = int((query or path.rpartition("/")[2]).rpartition("=")[2])
            self._answer(200, list(ANSWERS.values())[number - 1](self.size))

    def do_POST(self) -> None:
        left = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, 65536)))
        if self.path.endswith("/screen"):
            self._answer(200, b'{"overall":"fine","results":[]}')
        else:
            record = {"id": 1, "title": "t", "body": "b", "patient_id": 7, "staff_id": 1, "created_at": STAMP}
            self._answer(201, json.dumps(record).encode())

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        with contextlib.suppress(OSError):  # the proxy reads no more of it
            self._write(status, body, kind)

    def _write(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _serve(port: Connection, size: int) -> None:
    handler = type("Handler", (_Handler,), {"size": size})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    port.send(server.server_address[1])
    server.serve_forever()


@contextlib.contextmanager
def serving(size: int = SIZE) -> Iterator[str]:
    """Run the upstream; yields its address.

    :param size: of its responses, in bytes.
    """
    ours, theirs = multiprocessing.Pipe()
    running = multiprocessing.Process(target=_serve, args=(theirs, size), daemon=True)
    running.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        running.terminate()
        running.join(10)
