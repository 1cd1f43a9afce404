"""Patients' names, notes and staff credentials are in no file and no log of the proxy.

A stand-in is filled with words that occur nowhere by chance. The test uses every function of the proxy, correctly and
wrongly, and then searches every file below its folder: as it is, unpacked, and value by value.
"""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from .http_client import Answer, ask, basic, control, raw, script
from .processes import Processes, Proxy
from .scripted_server import Misbehaving
from .test_alerts import until
from .test_fates import until as until_so
from .test_writers_http import until_well
from .word_search import findings, rummage, spellings

PATIENT, NOTE, PASSWORD, WRONG, IMAGE, PAGE, OPTION = (
    "Quetzalcoatlin-Żółwik",
    'Ornithorhynchus "paradoxus"',
    "Kraftwerk/Schlüssel+7?",
    "Falschmeldung:Kennwort",
    "Radiogramm-Bildinhalt",
    "Seitenkennwort-Irrtum",
    "Geheimoption-in-der-Datei",
)
SECRETS = (PATIENT, NOTE, PASSWORD, WRONG, IMAGE, PAGE, OPTION)
STEMS = (
    "Quetzalcoatlin",
    "Ornithorhynchus",
    "Kraftwerk/Schl",
    "Falschmeldung:",
    "Radiogramm-B",
    "Seitenkennw",
    "Geheimoption",
)
"""Parts of the words that remain after truncation, and after escaping of non-ASCII characters."""
STAFF = ("staff1", "staff2", "staff3")


def needles() -> Any:
    """Every text to search for, including Authorization fields as they are sent."""
    fields = [basic(name, secret).split()[1] for name in STAFF for secret in (PASSWORD, WRONG)]
    return spellings([*SECRETS, *STEMS, *fields])


async def fill(control_url: str) -> None:
    """Put words into every record of the stand-in that can be found again."""

    async def change(resource: str, id_: int, **fields: str) -> None:
        await control(control_url, "POST", "/change", {"resource": resource, "id": id_, "fields": fields})

    for record in await control(control_url, "GET", "/records/patients"):
        await change("patients", record["id"], name=f"{PATIENT} {record['id']}")
    for record in await control(control_url, "GET", "/records/notes"):
        await change("notes", record["id"], title=f"{NOTE} {record['id']}", body=f"{NOTE} of {PATIENT}")
    for number in (1, 2, 3):
        await change("staffs", number, password=PASSWORD)


async def everything(proxy: Proxy, keys: str = "") -> list[Answer]:
    """Call every operation correctly.

    :param keys: part of the idempotency keys. A second call with the same text replays the writes.
    """
    answers = []

    async def one(method: str, path: str, *document: Any, user: str = "staff1", **headers: str) -> Answer:
        answer = await ask(
            proxy.plain_url, method, path, *document, user=user, password=PASSWORD, headers=headers
        )
        answers.append(answer)
        return cast(Answer, answer)

    for user in STAFF:
        for path in (
            "/",
            "/hospitals",
            "/hospitals/1",
            "/staffs",
            "/staffs/1",
            "/staffs/me",
            "/patients",
            "/notes",
        ):
            await one("GET", path, user=user)
        for path in ("/patients/3", "/notes/5", "/notes?patient_id=3", "/patients?hospital_id=2"):
            await one("GET", path, user=user, Accept="application/json")
    for resource, document, changes in (
        ("hospitals", {"name": "Somewhere"}, {"name": "Elsewhere"}),
        (
            "staffs",
            {"name": "newcomer", "hospital_id": 1, "password": PASSWORD},
            {"password": PASSWORD + "2"},
        ),
        ("patients", {"name": PATIENT, "hospital_id": 1}, {"name": PATIENT + " again"}),
        ("notes", {"title": NOTE, "body": NOTE, "patient_id": 7}, {"body": NOTE + " again"}),
    ):
        key = {"Idempotency-Key": f'"{resource}-{STEMS[1]}{keys}"'}
        made = await one("POST", f"/{resource}", document, **key)
        await one("POST", f"/{resource}", document, **key)
        place = f"/{resource}/{made.json()['id']}"
        await one("PATCH", place, changes)
        await one("GET", place)
        await one("DELETE", place)
    await one("POST", "/patients/3/screen", {"images": [IMAGE, base64.b64encode(IMAGE.encode()).decode()]})
    return answers


async def badly(proxy: Proxy) -> None:
    """Send the errors that users and programs make."""
    for name, password in (
        ("staff1", WRONG),
        (PASSWORD, PASSWORD),
        (PATIENT, ""),
        ("staff2", PASSWORD + "x"),
    ):
        for method, path, *document in (
            ("GET", "/patients"),
            ("POST", "/notes", {"title": NOTE, "body": NOTE}),
        ):
            await ask(proxy.plain_url, method, path, *document, user=name, password=password)
    for _ in range(20):  # enough for an alert
        await ask(proxy.plain_url, "GET", "/patients", user=PATIENT, password=WRONG)
    host = proxy.plain_url.rpartition("/")[2]
    field, secret = basic("staff1", PASSWORD), f"{PATIENT}{NOTE}"
    good = f"GET /patients HTTP/1.1\r\nHost: {host}\r\nAuthorization: {field}\r\n"
    for sent in (
        f"GET /{PATIENT}/{NOTE.replace(' ', '%20')}?password={PASSWORD} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET /patients?name={PATIENT} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {field}\r\n\r\n",
        f"{STEMS[0]} / HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: {STEMS[0]}.example\r\n\r\n",
        f"GET http://{STEMS[0]}:{STEMS[2]}@{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"{good}{secret}\r\n\r\n",
        f"{good}{STEMS[0]} {STEMS[2]}: x\r\n\r\n",
        f"{good}X: {secret}\x01\r\n\r\n",
        f"{good}X-Request-Id: {STEMS[1]}-{STEMS[3]}\r\n\r\n",
        f"{good}X-Forwarded-For: {STEMS[1]}\r\nForwarded: for={STEMS[1]}\r\n\r\n",
        f"{good}Cookie: session={STEMS[3]}\r\nContent-Length: {STEMS[1]}\r\n\r\n",
        f"{good.replace('Basic', STEMS[3])}\r\n",
        f"{good.replace('Basic ', 'Basic =' + STEMS[0])}\r\n",
        f"POST /notes HTTP/1.1\r\nHost: {host}\r\nAuthorization: {field}\r\nContent-Type: application/json\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n{len(STEMS[1]):x};{STEMS[3]}\r\n{STEMS[1]}\r\n{STEMS[2]}\r\n",
        f"POST /notes HTTP/1.1\r\nHost: {host}\r\nAuthorization: {field}\r\nContent-Type: {STEMS[1]}/{STEMS[0]}\r\n"
        f"Content-Length: 2\r\n\r\n{{}}",
    ):
        await raw(proxy.plain_url, sent.encode())
    for document in (
        {"title": 3, "body": NOTE},
        {PASSWORD: NOTE},
        [NOTE],
        NOTE,
        {"patient_id": PATIENT, "staff_id": NOTE},
    ):
        await ask(proxy.plain_url, "POST", "/notes", document, user="staff1", password=PASSWORD)
    for body in (NOTE.encode(), b'{"title": "' + NOTE.encode("utf-16"), b"{" * 5000 + NOTE.encode()):
        more = {"Content-Type": "application/json"}
        await ask(
            proxy.plain_url, "POST", "/notes", body=body, headers=more, user="staff1", password=PASSWORD
        )


async def with_a_hosp_that_fails(proxy: Proxy, control_url: str) -> None:
    """Send writes and reads on which HOSP fails in every way that the stand-in has."""
    note = {"title": NOTE, "body": NOTE, "patient_id": 7}
    for fault in (
        *("error_before", "error_after", "reset_before", "reset_after"),
        *("truncated", "cut_head", "busy", "bad_gateway"),
    ):
        await script(control_url, fault, fault, method="POST")
        await ask(
            proxy.plain_url,
            "POST",
            "/notes",
            note | {"body": f"{NOTE} {fault}"},
            user="staff2",
            password=PASSWORD,
        )
        await script(control_url, fault, fault, method="GET")
        await ask(
            proxy.plain_url,
            "GET",
            "/notes",
            user="staff2",
            password=PASSWORD,
            headers={"Cache-Control": "no-cache"},
        )
    await control(control_url, "POST", "/offline", {"offline": True})
    for path in ("/patients", "/notes/5", "/staffs/me"):
        await ask(proxy.plain_url, "GET", path, user="staff1", password=PASSWORD)
    await ask(proxy.plain_url, "POST", "/notes", note, user="staff1", password=PASSWORD)
    await control(control_url, "POST", "/offline", {"offline": False})

    async def back() -> bool:
        more = {"user": "staff2", "password": PASSWORD, "headers": {"Cache-Control": "no-cache"}}
        return cast(int, (await ask(proxy.plain_url, "GET", "/hospitals", **more)).status) == 200

    await until_so(back, "HOSP is found to be back", 15.0)


def with_secret(text: str, more: str = "") -> str:
    """Return the text of an options file with a secret in it."""
    return f'{text}[audit_http]\nsecret = "{OPTION}"\n{more}'


async def edit_options(proxy: Proxy, file: Path) -> None:
    """Put a secret into the options file, and take it out again; both are applied, and one text is wrong."""
    before = await deferToThread(file.read_text)
    await deferToThread(file.chmod, 0o600)  # because it holds a secret
    for text, line in (
        (with_secret(before), "(generation 1)"),
        (with_secret(before, "mistaken = true\n"), "options not reloaded"),
        (before, "(generation 2)"),
    ):
        await deferToThread(file.write_text, text)
        proxy.signal("HUP")
        await proxy.until_said(line)


async def crash(proxy: Proxy, control_url: str) -> None:
    """Kill the proxy while writes and a screening are in flight at HOSP."""
    await control(control_url, "POST", "/faults", {"stall": 1, "only_methods": ["POST"]})
    sent: list[Deferred[Answer]] = []

    def write() -> None:
        note = {"title": NOTE, "body": f"{NOTE} {len(sent)}", "patient_id": 7}
        sent.append(ask(proxy.plain_url, "POST", "/notes", note, user="staff3", password=PASSWORD))

    def stalled() -> int:
        return sum(each["kind"] == "intent" for each in proxy.records())

    before = stalled()
    for _ in range(3):
        write()

    def is_under_way() -> bool:
        # HOSP's slots may still be held by what failed before: then all are refused in the end, and one more is tried.
        if all(each.called for each in sent):
            write()
        return stalled() > before

    await until(is_under_way)
    for _ in range(200):  # each is a round trip; the request follows its intent at once
        if (await control(control_url, "GET", "/stats"))["in_flight"]:
            break
    proxy.signal("KILL")
    await proxy.exit_status()
    await gatherResults([each.addErrback(lambda _gone: None) for each in sent])
    await control(control_url, "POST", "/faults", {})


async def look(proxy: Proxy) -> bytes:
    """Read the admin listener's pages, with and without permission; return all text except the trail."""
    said = b""
    for path in ("/metrics", "/ready", "/live"):
        said += (await ask(proxy.admin_url, "GET", path)).body
    password = (proxy.state / "audit-page-password").read_text().strip()
    for path in ("/audit", "/audit?patient=3", "/audit/patients/3/disclosures", "/audit/export.csv"):
        answer = await ask(proxy.admin_url, "GET", path, user="auditor", password=password)
        assert answer.status == 200, path
        said += answer.body
    for name, given in (("auditor", PAGE), (PAGE, PASSWORD)):  # only a few, because guesses are delayed
        answer = await ask(proxy.admin_url, "GET", "/audit", user=name, password=given)
        assert answer.status == 401
        said += answer.body
    return said


async def dropped_by(processes: Processes) -> Proxy:
    """Run a proxy in front of a server with unreadable responses, each with secrets where a log would quote it."""
    secret = f"{STEMS[0]}{STEMS[1]}".encode()
    json_ = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    scripts: list[list[bytes | str]] = [
        [answer, "close"]
        for answer in (
            secret + b"\r\n\r\n",
            b"HTTP/1.1 " + secret + b"\r\n\r\n",
            json_ + secret + b"\r\n\r\n",
            json_ + b"Content-Length: " + secret + b"\r\n\r\n",
            json_ + b"Transfer-Encoding: " + secret + b"\r\n\r\n",
            json_ + b"Transfer-Encoding: chunked\r\n\r\n" + secret + b"\r\n",
            json_ + b"Content-Encoding: gzip\r\nContent-Length: 40\r\n\r\n" + secret.ljust(40),
            json_ + b"Set-Cookie: s=" + secret + b"\r\nContent-Length: 40\r\n\r\n" + secret.ljust(40),
            json_ + b"Content-Length: 40\r\n\r\n" + secret[:8],
            json_ + b"Location: http://" + secret + b"/\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 500 " + secret + b"\r\nContent-Length: 40\r\n\r\n" + secret.ljust(40),
        )
    ]
    server = Misbehaving(*scripts)
    port = cast(Any, reactor).listenTCP(0, server, interface="127.0.0.1")
    options = "".join(
        f"[{name}]\nenabled = false\n"
        for name in ("identity", "ownership", "screening", "cache", "retry", "writes")
    )
    proxy = await processes.proxy(
        f"http://127.0.0.1:{port.getHost().port}",
        options=options + "[breaker]\nfailures = 1000\n",
        top="deadline_s = 4\n",
    )
    for _ in scripts:
        for method, *document in (("GET",), ("POST", {"title": NOTE, "body": NOTE, "patient_id": 7})):
            more = {"user": "staff1", "password": PASSWORD}
            await ask(
                proxy.plain_url, method, "/notes", *document, **more, headers={"Cache-Control": "no-cache"}
            )
    assert len(server.requests) >= len(scripts)
    await proxy.stop()
    await port.stopListening()
    return proxy


@pytest_twisted.ensureDeferred
async def test_no_file_and_no_log_names_a_patient_quotes_a_note_or_holds_a_password(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # where a program stores data that does not fit
    hosp = await processes.hosp()
    await fill(hosp.control_url)
    options = "[audit]\nrotate_bytes = 65536\n[alerts]\npatients = 2\n[writes]\nlate_commit_s = 0.5\n"
    first = await processes.proxy(hosp.url, options=options, top="deadline_s = 4\ndrain_s = 5\n")
    answers = await everything(first)
    assert {answer.status for answer in answers} <= {200, 201}
    assert PATIENT in answers[6].body.decode() and NOTE in answers[7].json()[0]["body"]
    await badly(first)
    await with_a_hosp_that_fails(first, hosp.control_url)
    said = await look(first)
    [file] = processes.folder.glob("hospproxy-*.toml")
    await edit_options(first, file)
    await crash(first, hosp.control_url)
    again = await processes.proxy(
        hosp.url, options=options, top="deadline_s = 4\ndrain_s = 5\n", state=first.state
    )
    await everything(again)
    said += await look(again)
    await until_well(again, "database")
    kinds = {"request", "own", "intent", "finding", "disclosure", "alert", "look"}
    await until(lambda: {record["kind"] for record in again.records()} >= kinds)
    assert await again.stop() == 0
    bad = await dropped_by(processes)
    for file in (
        "ledger/ledger.sqlite",
        "cache/answers.sqlite",
        "noticing.json",
        "audit-index/index.json",
        "options/000002.sealed",
    ):
        assert (first.state / file).stat().st_size > 0, file
    assert list((first.state / "audit-index").glob("*.records.parquet"))
    (tmp_path / "log").write_text(first.log + again.log + bad.log)
    (tmp_path / "said").write_bytes(said)
    assert rummage(tmp_path, needles()) == []
    assert "Traceback" not in first.log + again.log + bad.log


@pytest.mark.parametrize("secret", SECRETS)
def test_what_is_planted_is_found(secret: str, tmp_path: Path) -> None:
    """The search finds planted words in every form and encoding."""
    looked_for = needles()
    plain = secret.encode()
    shapes = {
        "clear": b"xx" + plain + b"yy",
        "json": json.dumps({"a": secret}).encode(),
        "nested": json.dumps(json.dumps({"a": secret})).encode(),
        "repr": repr(plain).encode(),
        "utf16": secret.encode("utf-16-le"),
        "hex": plain.hex().encode(),
        "packed": gzip.compress(b"\n" + plain),
        **{f"base64-{n}": base64.b64encode(b"x" * n + plain + b"yyy") for n in range(6)},
        **{f"base64url-{n}": base64.urlsafe_b64encode(b"x" * n + plain) for n in range(3)},
    }
    for name, content in shapes.items():
        (tmp_path / name).write_bytes(content)
    connection = sqlite3.connect(tmp_path / "table")
    connection.execute("CREATE TABLE t (a TEXT, b BLOB)")
    connection.execute("INSERT INTO t VALUES (?, ?)", ("x" * 4090 + secret, gzip.compress(plain)))
    connection.commit()
    connection.close()
    found = rummage(tmp_path, looked_for)
    places = {each.partition(": ")[0] for each in found}
    assert places >= {*shapes, "packed unpacked", "table values", "table values unpacked"} - {"packed"}
    assert findings("log", base64.b64encode(f"staff1:{PASSWORD}".encode()), looked_for)
