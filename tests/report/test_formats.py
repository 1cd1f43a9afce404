"""One line of each kind that the formats' descriptions name, and what the report reads of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.formats import ALB_FIELDS
from hospproxy.report.log_files import find
from hospproxy.report.requests_table import requests_table

from .log_lines import CLOUDFRONT_HEAD, FIELDS, TAIL

ARN = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/hosp/73e2d6bc24d8a067"
ALB = {
    # HTTP, with all fields that an entry has today.
    f"http 2026-11-20T22:23:00.186641Z app/hosp/50dc6c495c0c9188 192.0.2.39:2817 10.0.0.1:80 0.000 0.001 0.000 200 200"
    f' 34 366 "GET http://hosp.example:80/ HTTP/1.1" "curl/7.46.0" - - {ARN} "Root=1-58337262-36d228ad5d99923122bbe354"'
    ' "-" "-" 0 2026-11-20T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90'
    ' "-" "-" "-"': ("192.0.2.39", "GET", "/", "/", 200, False, 1000, 366),
    # HTTPS and HTTP/2: 29 fields, as entries had before newer fields were added.
    f"https 2026-11-20T22:23:00.186641Z app/hosp/50dc6c495c0c9188 192.0.2.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 200"
    f' 0 57 "PUT https://hosp.example:443/patients/17/notes/4?name=Rex HTTP/1.1" "curl/7.46.0"'
    f" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 {ARN}"
    ' "Root=1-58337281-1d84f3d73c47ec4e58577259" "hosp.example"'
    ' "arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012" 1'
    ' 2026-11-20T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-"': (
        "192.0.2.39", "PUT", "/patients/17/notes/4", "/patients/{id}/notes/{id}", 200, False, 171000, 57),
    f"h2 2026-11-20T22:23:00.186641Z app/hosp/50dc6c495c0c9188 10.0.1.252:48160 10.0.0.66:9000 0.000 0.002 0.000 200"
    f' 200 5 257 "GET https://10.0.2.105:773/x/2f1c9d1e-0b2a-4c3d-8e4f-aabbccddeeff HTTP/2.0"{TAIL}': (
        "10.0.1.252", "GET", "/x/2f1c9d1e-0b2a-4c3d-8e4f-aabbccddeeff", "/x/{id}", 200, False, 2000, 257),
    # WebSockets; the client has an IPv6 address.
    f"wss 2026-11-20T22:23:00.186641Z app/hosp/50dc6c495c0c9188 2001:db8::7:44244 10.0.0.171:8010 0.000 0.001 0.000 101"
    f' 101 218 786 "GET https://10.0.0.30:443/ws/12ab HTTP/1.1"{TAIL}': (
        "2001:db8::7", "GET", "/ws/12ab", "/ws/12ab", 101, False, 1000, 786),
    # A Lambda function as target, which failed.
    f"http 2026-11-20T22:23:00.186641Z app/hosp/50dc6c495c0c9188 192.0.2.39:2817 - 0.000 0.001 0.000 502 - 34 366"
    f' "GET http://hosp.example:80/notes/9.json HTTP/1.1" "curl/7.46.0" - - {ARN} "Root=1-58337364" "-" "-" 0'
    ' 2026-11-20T22:22:48.364000Z "forward" "-" "LambdaInvalidResponse" "-" "-" "-" "-"': (
        "192.0.2.39", "GET", "/notes/9.json", "/notes/{id}.json", 502, True, 1000, 366),
    # The target did not respond before the timeout: two times are not known.
    f"https 2026-11-20T22:23:00.186641Z app/hosp/50dc6c495c0c9188 192.0.2.39:2817 10.0.0.1:80 0.001 -1 -1 504 - 34 0"
    f' "GET https://hosp.example:443/staff HTTP/1.1"{TAIL}': (
        "192.0.2.39", "GET", "/staff", "/staff", 504, True, None, 0),
    # A malformed request: no method, no path, no target.
    "http 2026-11-20T22:23:00.186641Z app/hosp/50dc6c495c0c9188 192.0.2.39:2817 - -1 -1 -1 400 - 0 272"
    ' "- http://hosp.example:80- -" "-" - - - "-" "-" "-" - 2026-11-20T22:22:48.364000Z "-" "-" "-" "-" "-" "-" "-"': (
        "192.0.2.39", "-", "-", "-", 400, False, None, 272),
    # The client left.
    f"https 2026-11-20T22:23:00.186641Z app/hosp/50dc6c495c0c9188 192.0.2.39:2817 10.0.0.1:80 0.001 -1 -1 460 - 34 0"
    f' "POST https://hosp.example:443/notes HTTP/1.1"{TAIL}': (
        "192.0.2.39", "POST", "/notes", "/notes", 460, True, None, 0),
}  # fmt: skip
CLOUDFRONT = {
    "2026-11-20\t22:23:00\tLAX1\t2390282\t192.0.2.202\tGET\td111.cloudfront.net\t/patients/17\t200\t-"
    "\tMozilla/4.0%20(compatible)\tname=Rex\t-\tHit\tMRVMF7Kyd==\thosp.example\thttps\t23\t0.001\t-\tTLSv1.2\tAES128"
    "\tHit\tHTTP/2.0\t-\t-\t11040\t0.001\tHit\ttext/html\t78\t-\t-": (
        "192.0.2.202", "GET", "/patients/17", "/patients/{id}", 200, False, 1000, 2390282),
    # The client left: 000.
    "2026-11-20\t22:23:00\tSEA4\t0\t2001:db8::7\tPOST\td111.cloudfront.net\t/notes\t000\t-\t-\t-\t-\tError\tkBkDzGnc=="
    "\thosp.example\thttps\t4383\t30.061\t-\tTLSv1.2\tAES128\tError\tHTTP/1.1\t-\t-\t443\t-"
    "\tClientCommError\t-\t-\t-\t-": (
        "2001:db8::7", "POST", "/notes", "/notes", None, True, 30061000, 0),
}  # fmt: skip
JOURNAL = {
    '{"v":1,"kind":"request","time":"2026-11-20T22:23:00.186Z","duration_ms":12.3,"request_id":"5b1d",'
    '"who":{"id":7,"name":"Member 7","certainty":"verified"},"own":null,"on_behalf_of":null,"client":{"address":'
    '"192.0.2.7","peer":"10.0.0.1","chain":["10.0.0.1"],"scheme":"https","certificate":null},"method":"GET",'
    '"route":"/patients/{id}","action":"read","outcome":"success","status":200,"client_gone":false,"seq":17,'
    '"prev":"00"}': ("192.0.2.7", "GET", "/patients/{id}", "/patients/{id}", 200, False, 12300, None),
    '{"v":1,"kind":"request","time":"2026-11-20T22:22:55.186Z","duration_ms":5000.0,"client":{"address":"192.0.2.7"},'
    '"method":"unknown","route":"unknown","status":null,"client_gone":true}': (
        "192.0.2.7", "-", "/unknown", "/unknown", 460, True, 5000000, None),
    # With an access log the record says the size. A write went on although its client had left.
    '{"v":1,"kind":"request","time":"2026-11-20T22:23:00.186Z","duration_ms":0.0,"client":{"address":"192.0.2.7"},'
    '"method":"POST","route":"/notes","status":201,"client_gone":true,"http":{"version":"1.1","sent":366}}': (
        "192.0.2.7", "POST", "/notes", "/notes", 460, True, 0, 366),
}  # fmt: skip


class FormatTests(SynchronousTestCase):
    def read(self, text: str, name: str = "a.log") -> tuple[list[Any], int]:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / name).write_text(text)
        with requests_table(20) as table:
            broken, _ = table.read(find([folder]).files, lambda _done, _of: None)
            rows = table.rows(
                "SELECT client, method, path, route, status, failed, us, sent, moment FROM requests"
            )
        return rows, broken

    def compare(self, lines: dict[str, tuple[Any, ...]], head: str = "") -> None:
        for line, expected in lines.items():
            with self.subTest(line[:60]):
                rows, broken = self.read(f"{head}{line}\n")
                # A request of unknown duration is none of the slowest, whose paths are shown.
                kept = expected[2] if expected[6] is not None else None
                self.assertEqual([row[:-1] for row in rows], [(*expected[:2], kept, *expected[3:])])
                self.assertEqual(rows[0][-1].strftime("%Y-%m-%d %H:%M:%S"), "2026-11-20 22:23:00")
                self.assertEqual(broken, 0)

    def test_load_balancer(self) -> None:
        self.compare(ALB)

    def test_cloudfront(self) -> None:
        self.compare(CLOUDFRONT, CLOUDFRONT_HEAD)

    def test_cloudfront_with_chosen_fields_in_another_order(self) -> None:
        rows, broken = self.read(
            "#Version: 1.0\n#Fields: sc-status time date cs-uri-stem\n204\t22:23:00\t2026-11-20\t/notes/4\n"
        )
        self.assertEqual(
            [row[:-1] for row in rows], [("-", "-", None, "/notes/{id}", 204, False, None, None)]
        )
        self.assertEqual(broken, 0)

    def test_journal(self) -> None:
        self.compare(JOURNAL)

    def test_a_journal_with_times_that_are_none(self) -> None:
        request = next(iter(JOURNAL))
        for time in ("infinity", "-infinity", "294246-12-31T23:59:59Z", "yesterday"):
            rows, broken = self.read(request.replace("2026-11-20T22:23:00.186Z", time))
            self.assertEqual((rows, broken), ([], 1))

    def test_other_records_of_the_journal_are_no_requests(self) -> None:
        request = next(iter(JOURNAL))
        others = [
            request.replace('"request"', f'"{kind}"') for kind in ("own", "intent", "finding", "digest")
        ]
        rows, broken = self.read("\n".join([*others, request, " " * 2_000_000]))
        self.assertEqual((len(rows), broken), (1, 0))

    def test_the_fields_are_those_of_the_description(self) -> None:
        line = next(iter(ALB))
        self.assertEqual(len(ALB_FIELDS), 33)
        self.assertEqual(line.partition('"')[0].count(" "), ALB_FIELDS.index("request"))
        self.assertEqual(len(FIELDS.split()), 33)
