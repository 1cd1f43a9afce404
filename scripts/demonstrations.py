"""The commands that ``make run`` prints, ready to paste: one for each feature of the proxy.

integration/test_make_run.py runs every one of them and compares the output with `expected`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Ports on 127.0.0.1, and the folder for all files of the demonstration."""

    proxy: int
    admin: int
    hosp: int
    control: int
    state: Path

    def ports(self) -> dict[str, int]:
        """Variable of the Makefile that sets a port → that port."""
        return {
            "PORT": self.proxy,
            "ADMIN_PORT": self.admin,
            "HOSP_PORT": self.hosp,
            "CONTROL_PORT": self.control,
        }


@dataclass(frozen=True)
class Demonstration:
    """One feature of the proxy, with commands that show it.

    :param title: name of the feature.
    :param commands: shell commands; {proxy}, {admin}, {hosp}, {control} and {state} are filled in.
    :param expected: regular expressions; each must match somewhere in the commands' output.
    """

    title: str
    commands: tuple[str, ...]
    expected: tuple[str, ...]


def _curl(path: str, *options: str, staff: int | None = 1) -> str:
    who = [] if staff is None else ["-u", f"staff{staff}:password{staff}"]
    return " ".join(["curl -sk", *who, *options, f"'https://localhost:{{proxy}}{path}'"])


def _json(document: str) -> str:
    return f"-H 'Content-Type: application/json' -d '{document}'"


def _next_fault(script: str) -> str:
    return f"""curl -s -o /dev/null 'http://127.0.0.1:{{control}}/script' -d '{{{{"faults":[{script}]}}}}'"""


_HEAD = "-o /dev/null -D -"

DEMONSTRATIONS = (
    Demonstration(
        "HTTPS: HOSP speaks plain HTTP only, and passwords crossed the network in the clear",
        ("curl -k -u staff1:password1 https://localhost:{proxy}/hospitals",),
        (r'"name":"Colchester General"',),
    ),
    Demonstration(
        "Identity: no credentials, no answer, and HOSP is not even asked",
        (_curl("/hospitals", "-i", staff=None),),
        (r"^HTTP/1.1 401", r"(?i)^x-request-id: \w+", r"HTTP Basic: Access denied\."),
    ),
    Demonstration(
        "Validation: a method that the route does not have",
        (_curl("/hospitals", "-i -X PUT"),),
        (r"^HTTP/1.1 405", r"(?i)^allow: .*POST"),
    ),
    Demonstration(
        "Validation: a body that is not as the contract says; the answer names the field",
        (_curl("/patients", _json('{{"name":"Rex","hospital_id":"two"}}')),),
        (r'"status":422', r'"field":"hospital_id"'),
    ),
    Demonstration(
        "Ownership: staff1 writes a note in the name of staff2; it is stored in the name of staff1",
        (_curl("/notes", _json('{{"title":"Hello","body":"From staff1","patient_id":1,"staff_id":2}}')),),
        (r'"staff_id":1\b',),
    ),
    Demonstration(
        "Cache: the second answer comes from memory, at once, and only for the same credentials",
        (
            _curl("/patients?hospital_id=2", _HEAD, "-w '%{{time_total}} s\\n'"),
            _curl("/patients?hospital_id=2", _HEAD, "-w '%{{time_total}} s\\n'"),
        ),
        (r"(?i)^cache-status: .*fwd", r"(?i)^cache-status: .*hit"),
    ),
    Demonstration(
        "Screening: HOSP forgets the result; the proxy keeps it as a note (a moment later)",
        (
            _curl("/patients/3/screen", _json('{{"images":["aW1hZ2Ux","aW1hZ2Uy"]}}')),
            "sleep 3; " + _curl("/notes?patient_id=3"),
        ),
        (r'"overall"', r'"title":"Screening result"'),
    ),
    Demonstration(
        "Retry: the next GET meets a 500 of HOSP, and the client does not notice",
        (
            _next_fault('{{"fault":"error_before","method":"GET","path":"/hospitals/*"}}'),
            _curl("/hospitals/2", "-i"),
        ),
        (r"^HTTP/1.1 200", r'"name":"Colchester General"'),
    ),
    Demonstration(
        "A lost answer: HOSP stores the note and drops the connection; it is found again, and stored once",
        (
            _next_fault('{{"fault":"reset_after","method":"POST","path":"/notes"}}'),
            _curl("/notes", "-i", _json('{{"title":"Once","body":"Only once","patient_id":7}}')),
        ),
        (r"^HTTP/1.1 201", r'"title":"Once"'),
    ),
    Demonstration(
        "An unknown outcome is said to be unknown: HOSP takes the note and never answers (this takes 28 s)",
        (
            _next_fault('{{"fault":"stall","method":"POST","path":"/notes"}}'),
            _curl("/notes", "-i", _json('{{"title":"Lost","body":"Who knows","patient_id":8}}')),
        ),
        (r"^HTTP/1.1 50[24]", r'"outcome":"unknown","reference":"hp-'),
    ),
    Demonstration(
        "Asking again: the same Idempotency-Key is the same note, and the second answer is the first one's",
        (
            _curl("/notes", "-H 'Idempotency-Key: visit-17'", _json('{{"title":"Keyed","patient_id":9}}')),
            _curl("/notes", "-H 'Idempotency-Key: visit-17'", _json('{{"title":"Keyed","patient_id":9}}')),
        ),
        (r'(?s)"id":(\d+),.*"id":\1,',),
    ),
    Demonstration(
        "Outage: HOSP is gone, and who has read something before reads it again, marked as old",
        (
            _curl("/hospitals", _HEAD),
            "curl -s -o /dev/null 'http://127.0.0.1:{control}/offline' -d '{{\"offline\":true}}'",
            _curl("/hospitals", "-i -H 'Cache-Control: no-cache'"),
            "curl -s -o /dev/null 'http://127.0.0.1:{control}/offline' -d '{{\"offline\":false}}'",
        ),
        (r"(?i)^cache-status: .*stale-if-error", r'"name":"Colchester General"'),
    ),
    Demonstration(
        "Audit: one line for each request (two for a write), on disk before its answer left",
        ("tail -qn 2 {state}/audit/*.jsonl",),
        (r'"outcome":"',),
    ),
    Demonstration(
        "Audit page: who has looked at patient 3? It is made for a browser",
        (
            'curl -sk -u "auditor:$(cat {state}/audit-page-password)" https://localhost:{admin}/audit/patients/3'
            " | grep -E 'Logged in as|<h1>'",
        ),
        (r"Logged in as</span> <strong>auditor",),
    ),
    Demonstration(
        "Metrics for Prometheus, and health for a balancer",
        (
            "curl -sk https://127.0.0.1:{admin}/metrics | grep ^hospproxy_requests_total",
            "curl -sk https://127.0.0.1:{admin}/ready",
        ),
        (r"^hospproxy_requests_total\{.*\} [1-9]", r'"ready":true'),
    ),
)


def listing(places: Places) -> str:
    """The whole text that ``make run`` prints."""
    lines = [
        "",
        f"hospproxy serves https://localhost:{places.proxy} in front of a stand-in HOSP on "
        f"http://127.0.0.1:{places.hosp}.",
        f"The audit page is https://localhost:{places.admin}/audit: user auditor, password in "
        f"{places.state}/audit-page-password.",
        f"Everything that is kept is in {places.state}, logs too. Ctrl-C ends both. Try:",
    ]
    filled = {
        "proxy": places.proxy,
        "admin": places.admin,
        "hosp": places.hosp,
        "control": places.control,
        "state": places.state,
    }
    for each in DEMONSTRATIONS:
        lines += [
            "",
            f"# {each.title}",
            *(command.format(**filled) for command in each.commands),
        ]
    return "\n".join([*lines, ""])
