"""The upstream of all peers: nginx with what the stand-in HOSP responded, so that it is never the slowest part.

It checks credentials as HOSP does, knows every member of staff up to a number, and has a patient for every id. It is
not counted.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from integration.ports import free_port

from ..processes import standin
from .paced_load import unverified
from .processes import pinned, run

PEOPLE = 8
"""Members of staff who send the mixed requests."""
LISTS = ["/hospitals", *(f"/patients?hospital_id={number}" for number in range(1, 7)), "/hospitals/9"]
"""What HOSP's users request all day: the list of hospitals, lists of 17 to 26 patients, and one record."""
HOST = "127.0.0.1"


def credentials(number: int) -> str:
    """``Authorization`` of one member of staff."""
    return f"Basic {base64.b64encode(f'staff{number}:password{number}'.encode()).decode()}"


def request(path: str, staff: int, close: bool = False) -> bytes:
    """A whole GET as the load generators send it.

    :param close: ask the server to close the connection after its response.
    """
    lines = [
        f"GET {path} HTTP/1.1", f"Host: {HOST}", f"Authorization: {credentials(staff)}",
        "Accept: application/json", "User-Agent: load", *(["Connection: close"] if close else []),
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def mixed(people: int = PEOPLE, paths: Sequence[str] = tuple(LISTS)) -> list[tuple[str, int]]:
    """Path and member of staff of every request that is a hit."""
    return [(path, number) for number in range(1, people + 1) for path in paths]


@frozen
class Origin:
    """A running upstream.

    :param bodies: what it responds, by path.
    """

    port: int
    status_port: int
    bodies: Mapping[str, bytes]

    def requests(self) -> int:
        """Number of requests so far; asking is counted too."""
        status, body = fetch(self.status_port, "/status", 1)
        assert status == 200, status
        return int(body.split(b"requests", 1)[1].split()[2])

    def body(self, path: str) -> bytes:
        """What the upstream responds to a path."""
        if path in self.bodies:
            return self.bodies[path]
        return _patient(path.rpartition("/")[2]).encode()


def fetch(
    port: int, path: str, staff: int, headers: Mapping[str, str] | None = None, tls: bool = False
) -> tuple[int, bytes]:
    """Status and body of one GET on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=unverified())
    try:
        given = {"Host": HOST, "Authorization": credentials(staff), "Accept": "application/json"}
        connection.request("GET", path, headers={**given, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _recorded(folder: Path) -> dict[str, bytes]:
    with standin(folder, ["--delay", "none", "--places", "0"]) as hosp:
        port = int(hosp.url.rpartition(":")[2])
        return {path: fetch(port, path, 1)[1] for path in LISTS}


def _patient(number: str) -> str:
    times = '"created_at":"2021-03-27T17:33:14.049Z","updated_at":"2021-03-27T17:33:14.049Z"'
    rest = f'"name":"Patient","hospital_id":9,"birthdate":"2019-02-03",{times}'
    return f'{{"id":{number},{rest},"url":"http://{HOST}/patients/{number}.json"}}'


def _staff(number: str) -> str:
    times = '"created_at":"2021-03-27T17:33:14.049Z","updated_at":"2021-03-27T17:33:14.049Z"'
    rest = f'"name":"staff{number}","hospital_id":9,{times}'
    return f'{{"id":{number},{rest},"url":"http://{HOST}/staffs/{number}.json"}}'


@contextlib.contextmanager
def origin(folder: Path, accounts: int = PEOPLE) -> Iterator[Origin]:
    """Run the upstream on free ports.

    :param accounts: how many members of staff it knows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, status_port, bodies = free_port(), free_port(), _recorded(folder)
    for number, (path, body) in enumerate(bodies.items()):
        assert isinstance(json.loads(body), list | dict), path
        (folder / f"{number}.json").write_bytes(body)
    files = "\n".join(f'    "{path}" /{number}.json;' for number, path in enumerate(bodies))
    staff = "\n".join(f'    "{credentials(number)}" {number};' for number in range(1, accounts + 1))
    configuration = folder / "origin.conf"
    configuration.write_text(
        f"""daemon off; master_process off; pid origin.pid; error_log stderr crit; worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_timeout 300; keepalive_requests 1000000000; etag off; if_modified_since off;
  map_hash_max_size 65536; map_hash_bucket_size 128; open_file_cache max=100; server_tokens off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  map $request_uri $file {{
    default /none;
{files}
  }}
  map $http_authorization $staff {{
    default "";
{staff}
  }}
  server {{
    listen 127.0.0.1:{port} backlog=16384 reuseport;
    root {folder};
    default_type "application/json; charset=utf-8";
    add_header Cache-Control "max-age=0, private, must-revalidate";
    add_header Vary Accept;
    add_header Last-Modified "";
    location = / {{ default_type text/html; return 200 "Server is online."; }}
    if ($staff = "") {{ return 401 "HTTP Basic: Access denied.\\n"; }}
    location = /staffs/me {{ return 200 '{_staff("$staff")}'; }}
    location ~ "^/patients/([0-9]+)$" {{ return 200 '{_patient("$1")}'; }}
    location / {{ try_files $file =404; types {{ }} }}
  }}
  server {{ listen 127.0.0.1:{status_port}; location = /status {{ stub_status; }} }}
}}
"""
    )
    command = ["/usr/sbin/nginx", "-p", str(folder), "-c", str(configuration)]
    with run("origin", command, folder, ports=[port, status_port], cores=pinned("load")):
        found = Origin(port, status_port, bodies)
        for path in LISTS:
            assert fetch(port, path, 1) == (200, bodies[path]), path
        assert re.fullmatch(rb'\{"id":7,.*"staff7".*\}', fetch(port, "/staffs/me", 7)[1])
        yield found
