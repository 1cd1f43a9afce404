"""The whole proxy with compression on: shortcuts change nothing, and only the coding differs from compression off."""

from __future__ import annotations

import gzip
import random
from typing import Any

from attrs import evolve

from .test_shortcuts import Rig, ShortcutTestCase

ON = '[compression]\nenabled = true\nfurther_operations = ["listPatients"]\n'
ACCEPTED = (
    "",
    "Accept-Encoding: gzip",
    "Accept-Encoding: gzip",
    "Accept-Encoding: br, gzip;q=0.5",
    "Accept-Encoding: gzip;q=0",
)
TARGETS = ("/hospitals", "/hospitals", "/patients", "/patients?hospital_id=1", "/notes", "/patients/7")


def parted(answer: bytes) -> tuple[dict[str, str], bytes]:
    """The fields of an answer, and its content without its coding."""
    head, _, content = answer.partition(b"\r\n\r\n")
    fields = {
        name.lower(): value
        for name, value in (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    }
    return fields, gzip.decompress(content) if fields.get(
        "content-encoding"
    ) == "gzip" and content else content


def plain(answer: bytes) -> tuple[dict[str, str], bytes]:
    """An answer as it would be without compression."""
    fields, content = parted(answer)
    coding = fields.pop("content-encoding", "")
    fields["vary"] = fields.get("vary", "").replace(", Accept-Encoding", "")
    fields["etag"] = fields.get("etag", "").replace(f"-{coding}", "") if coding else fields.get("etag", "")
    del fields["content-length"]
    return fields, content


class CompressedTestCase(ShortcutTestCase):
    def ward(self, more: str = ON, shortcuts: int = 4096, seed: int = 1) -> Rig:
        rig = self.rig(f'{more}[cache]\nshortcuts = {shortcuts}\n[access_log]\nformat = "json"\n', seed)
        for number in range(2, 60):
            rig.hosp.import_record("hospitals", number, {"name": f"Hospital of town {number}"})
            fields = {"name": f"Patient {number}", "hospital_id": 1, "birthdate": "2020-01-01"}
            rig.hosp.import_record("patients", 100 + number, fields)
        return rig


class SameTests(CompressedTestCase):
    def script(self, seed: int) -> list[tuple[str, ...]]:
        chance = random.Random(seed)
        steps: list[tuple[str, ...]] = []
        for number in range(80):
            roll = chance.random()
            if roll < 0.85:
                steps.append(
                    (
                        "GET",
                        chance.choice(TARGETS),
                        chance.choice(ACCEPTED),
                    )
                )
            elif roll < 0.92:
                steps.append(("wait", chance.choice(("1.0", "40.0", "301.0"))))
            else:
                steps.append(
                    ("PATCH", "/patients/101" if chance.random() < 0.5 else "/hospitals/3", f"n{number}")
                )
        return steps

    def run_script(
        self, seed: int, more: str, shortcuts: int
    ) -> tuple[list[bytes], list[dict[str, Any]], int]:
        rig, answers = self.ward(more, shortcuts, seed), []
        for kind, what, *rest in self.script(seed):
            if kind == "wait":
                rig.pass_time(float(what))
            elif kind == "PATCH":
                answers.append(rig.send(f"PATCH {what}", "ann", body={"name": rest[0]}))
            else:
                answers.append(rig.send(f"{kind} {what}", "ann", *rest))
        return answers, *self.finished(rig)

    def test_answers_and_records_are_the_same(self) -> None:
        used = coded = 0
        for seed in (1,):
            with_them, without = self.run_script(seed, ON, 4096), self.run_script(seed, ON, 0)
            off = self.run_script(seed, "", 4096)
            self.assertEqual(without[2], 0)
            used += with_them[2]
            for number, (one, other) in enumerate(zip(with_them[0], without[0], strict=True)):
                self.assertEqual(one, other, f"seed {seed}, answer {number}")
                self.assertEqual(plain(one), plain(off[0][number]), f"seed {seed}, answer {number}")
                coded += b"Content-Encoding: gzip" in one
            self.assertEqual(with_them[1], without[1], f"seed {seed}")
            for record in (*with_them[1], *off[1]):
                record.pop("prev")  # the digest of what came before it
                record.get("http", {}).pop("sent", None)
            self.assertEqual(with_them[1], off[1], f"seed {seed}")
        self.assertGreater(used, 10)
        self.assertGreater(coded, 20)


class SentTests(CompressedTestCase):
    def test_the_record_says_the_bytes_as_sent(self) -> None:
        ward = self.ward()
        for accepts in ("", "Accept-Encoding: gzip"):
            sent = [parted(ward.send("GET /patients", "ann", accepts))[0]["content-length"] for _ in range(3)]
            self.assertEqual(len(set(sent)), 1)
            ward.pass_time(1.0)
            records = [record for record in ward.records() if record["kind"] == "request"][-3:]
            self.assertEqual([str(record["http"]["sent"]) for record in records], sent)
            self.assertEqual(len({record["disclosed"]["set"] for record in records}), 1)
        self.assertEqual(ward.counted(), 3)

    def test_a_length_says_nothing_of_what_others_have_written(self) -> None:
        """The attack: write a guess beside what cannot be read, and look whether the response became shorter."""
        ward = self.ward("[compression]\nenabled = true\n")
        lengths = []
        for guess in ("Juno7 2020-01-01", "Kuno8 1984-06-21"):
            ward.send("POST /notes", "ben", body={"title": "t", "body": guess, "patient_id": 7})
            fields, content = parted(ward.send("GET /notes", "ann", "Accept-Encoding: gzip"))
            self.assertNotIn("content-encoding", fields)
            lengths.append(len(content))
        for target in ("/patients", "/staffs", "/patients/7"):
            self.assertNotIn(b"Content-Encoding", ward.send(f"GET {target}", "ann", "Accept-Encoding: gzip"))
        self.assertIn(b"Content-Encoding", ward.send("GET /hospitals", "ann", "Accept-Encoding: gzip"))

    def test_conditions_hold_for_what_was_read_in_a_coding(self) -> None:
        ward = self.ward()
        for _ in range(3):
            fields, _content = parted(ward.send("GET /hospitals", "ann", "Accept-Encoding: gzip"))
            self.assertTrue(fields["etag"].endswith('-gzip"'))
            known = f"If-None-Match: {fields['etag']}"
            answer = ward.send("GET /hospitals", "ann", "Accept-Encoding: gzip", known)
            self.assertEqual(answer[9:12], b"304")
            self.assertEqual(parted(answer)[0]["etag"], fields["etag"])
            self.assertEqual(ward.send("GET /hospitals", "ann", known)[9:12], b"200")

    def test_each_response_is_counted_and_the_entry_compressed_once(self) -> None:
        ward = self.ward()
        for _ in range(4):
            self.assertIn(b"Content-Encoding", ward.send("GET /hospitals", "ann", "Accept-Encoding: gzip"))
        metrics = ward.process.service.parts.metrics
        self.assertEqual(metrics.value("compressed_responses_total", coding="gzip"), 4.0)
        self.assertEqual(
            metrics.value("compressions_total", coding="gzip"), 2.0, "of HOSP's response, and of the entry"
        )
        self.assertGreater(metrics.value("compressed_bytes"), 100)

    def test_a_reload_switches_it_off_and_on_again(self) -> None:
        ward = self.ward()
        service = ward.process.service
        before = service.settings
        after = evolve(before, compression=evolve(before.compression, enabled=False))
        for settings, coded in ((before, True), (after, False), (before, True)):
            service.reloading.prepare(settings)()
            for _ in range(3):
                answer = ward.send("GET /hospitals", "ann", "Accept-Encoding: gzip")
                self.assertEqual(b"Content-Encoding" in answer, coded)
            self.assertEqual(service.parts.metrics.value("compressed_bytes") > 0, coded)
