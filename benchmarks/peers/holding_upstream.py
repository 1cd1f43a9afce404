"""``python -m benchmarks.peers.holding_upstream PORT CONTROL``: an upstream that keeps requests waiting.

Every request for a patient waits. The upstream lets all go at once when told to; everything else it answers at once.
The control port takes one line: ``count`` returns how many wait, ``release`` lets them go, and those that come later.
"""

from __future__ import annotations

import asyncio
import re
import sys

_TARGET = re.compile(rb"GET (/[^ ]*) ")
_STAFF = b'{"id":1,"name":"staff1","hospital_id":9}'


def response(body: bytes) -> bytes:
    """A whole 200 with a JSON body."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: "
    return f"{head}{len(body)}\r\n\r\n".encode() + body


class Holder:
    """What waits, and whether it still has to."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.waiting = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, which have no bodies."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _TARGET.match(head)
                path = found[1] if found else b"/"
                body = _STAFF
                if path.startswith(b"/patients/"):
                    self.waiting += 1
                    await self.released.wait()
                    self.waiting -= 1
                    number = path.rpartition(b"/")[2]
                    body = b'{"id":' + number + b',"name":"Patient","hospital_id":9,"birthdate":"2019-02-03"}'
                writer.write(response(body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one command."""
        if (await reader.readline()).strip() == b"release":
            self.released.set()
        writer.write(b"%d\n" % self.waiting)
        writer.close()


async def main(port: int, control: int) -> None:
    """Serve until the process is ended."""
    holder = Holder()
    await asyncio.start_server(holder.serve, "127.0.0.1", port, backlog=16384)
    server = await asyncio.start_server(holder.control, "127.0.0.1", control)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
