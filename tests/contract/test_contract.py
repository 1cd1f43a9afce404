"""The contract is data: what is read from it, and which errors are found in one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract import document as contract_document
from hospproxy.contract.document import ContractError
from tests.rig import CONTRACT

DOCUMENT = yaml.safe_load(Path(contract_document.__file__).with_name("hosp.openapi.yaml").read_text("utf-8"))


class HospTests(SynchronousTestCase):
    def test_every_resource_has_its_five_operations(self) -> None:
        for name in ("hospital", "staff", "patient", "note"):
            for verb in ("get", "create", "update", "delete"):
                self.assertEqual(CONTRACT.operation(f"{verb}{name.title()}").resource, f"{name}s")

    def test_what_the_proxy_must_know(self) -> None:
        create, screen = CONTRACT.operation("createNote"), CONTRACT.operation("screenPatient")
        self.assertEqual((create.author, create.is_write, create.wrapper), ("staff_id", True, "note"))
        self.assertEqual((screen.is_write, screen.repeatable, screen.max_body_bytes), (False, True, 16 << 20))
        assert create.lookup is not None
        self.assertEqual(
            (create.lookup.operation, create.lookup.query), ("listNotes", (("patient_id", "patient_id"),))
        )
        self.assertEqual(CONTRACT.operation("listHospitals").cache_s, 300)
        self.assertEqual(CONTRACT.operation("getStatus").cache_s, 5)
        self.assertTrue(CONTRACT.operation("getStatus").public)
        self.assertFalse(any(one.public for one in CONTRACT.operations.values() if one.id != "getStatus"))
        self.assertEqual(CONTRACT.late_commit_s, 25)
        self.assertEqual(CONTRACT.operation("createStaff").write_only, {"password"})

    def test_what_a_list_may_be_filtered_by(self) -> None:
        def filters(**ours: Any) -> dict[str, bool]:
            document = copy.deepcopy(DOCUMENT)
            document["paths"]["/notes"]["get"]["x-hospproxy"].update(ours)
            operation = contract_document.read(document).operation("listNotes")
            return {one.name: one.inferred for one in operation.query}

        everything = ("id", "title", "body", "staff_id", "created_at", "updated_at")
        self.assertEqual(filters(), {"patient_id": False, **dict.fromkeys(everything, True)})
        self.assertEqual(filters(filters=["staff_id"]), {"patient_id": False, "staff_id": True})
        self.assertEqual(filters(filters=[]), {"patient_id": False})
        self.assertEqual(CONTRACT.operation("listNotes").certain_filters, {"patient_id"})

    def test_a_literal_segment_goes_before_a_parameter(self) -> None:
        for path, wanted in ((("staffs", "me"), "/staffs/me"), (("staffs", "7"), "/staffs/{id}"), ((), "/")):
            found = CONTRACT.route(path)
            assert found is not None
            self.assertEqual(found[0].template, wanted)
        self.assertIsNone(CONTRACT.route(("patients", "1", "x")))

    def test_paths_are_filled_in(self) -> None:
        self.assertEqual(CONTRACT.operation("screenPatient").path(("7",)), "/patients/7/screen")

    def test_every_status_that_the_proxy_gives_is_documented(self) -> None:
        for item in DOCUMENT["paths"].values():
            for method in item.keys() & {"get", "post", "patch", "delete"}:
                operation = CONTRACT.operation(item[method]["operationId"])
                wanted = {"403", "500", "502", "503", "504", "508", "default"}
                wanted |= set() if operation.public else {"401", "429"}
                wanted |= {"400", "404", "409", "412", "422"} if operation.is_write else set()
                self.assertEqual(wanted - item[method]["responses"].keys(), set(), operation.id)

    def test_what_may_be_tried_again_says_when(self) -> None:
        for item in DOCUMENT["paths"].values():
            for method in item.keys() & {"get", "post", "patch", "delete"}:
                for status in item[method]["responses"].keys() & {"429", "503"}:
                    name = item[method]["responses"][status]["$ref"].rpartition("/")[2]
                    self.assertIn("Retry-After", DOCUMENT["components"]["responses"][name]["headers"])


class MistakeTests(SynchronousTestCase):
    def errors(self, change: Any) -> list[str]:
        document = copy.deepcopy(DOCUMENT)
        change(document)
        with self.assertRaises(ContractError) as caught:
            contract_document.read(document)
        return caught.exception.errors

    def test_all_are_named_at_once_with_their_key_paths(self) -> None:
        def change(document: Any) -> None:
            notes = document["paths"]["/notes"]
            notes["get"]["x-hospproxy"]["cash_s"] = 5
            notes["post"]["x-hospproxy"]["lookup"] = {"operation": "nobody", "colour": 1}
            notes["post"]["x-hospproxy"]["action"] = "make"
            notes["post"]["x-hospproxy"]["retry"] = "repeatible"
            document["x-hospproxy"]["resouces"] = {}
            document["paths"]["/notes/{id}"]["patch"]["x-hospproxy"]["record"] = "nobody"
            document["paths"]["/notes/{id}"]["delete"]["x-hospproxy"]["makes_stale"] = ["cats"]
            document["x-hospproxy"]["identity"]["operation"] = "whoami"
            del document["paths"]["/staffs"]["get"]["operationId"]

        errors = "\n".join(self.errors(change))
        for part in (
            "paths./notes.get.x-hospproxy.cash_s", "paths./notes.post.x-hospproxy.lookup", "x-hospproxy.action",
            "paths./notes.post.x-hospproxy.retry", "x-hospproxy.resouces: unknown",
            "'nobody'", "'cats'", "x-hospproxy.identity.operation", "paths./staffs.get",
        ):  # fmt: skip
            self.assertIn(part, errors)

    def test_filters_name_fields_of_the_answer(self) -> None:
        def change(document: Any) -> None:
            document["paths"]["/notes"]["get"]["x-hospproxy"]["filters"] = ["staff_id", "password", "url"]
            document["paths"]["/patients"]["get"]["x-hospproxy"]["filters"] = "name"
            document["x-hospproxy"]["override_no_cache"] = "yes"

        where = "paths./notes.get.x-hospproxy.filters: the records in the response have no field "
        self.assertEqual(
            set(self.errors(change)),
            {
                where + "'password' to filter by",
                where + "'url' to filter by",
                "paths./patients.get.x-hospproxy.filters: must be a list of names",
                "x-hospproxy.override_no_cache: must be true or false",
            },
        )

    def test_numbers_that_are_none(self) -> None:
        def change(document: Any) -> None:
            document["x-hospproxy"]["late_commit_s"] = "soon"
            document["paths"]["/notes"]["get"]["x-hospproxy"]["cache_s"] = -1
            document["paths"]["/notes"]["post"]["x-hospproxy"]["max_body_bytes"] = True

        errors = self.errors(change)
        self.assertEqual(len(errors), 3)
        for number, part in enumerate(
            ("paths./notes.get.x-hospproxy.cache_s", "max_body_bytes", "late_commit_s")
        ):
            self.assertIn(part, errors[number])

    def test_a_reference_to_nothing(self) -> None:
        def change(document: Any) -> None:
            del document["components"]["schemas"]["NewNote"]

        self.assertTrue(any("NewNote" in error for error in self.errors(change)))

    def test_a_deadline_is_a_number_of_seconds(self) -> None:
        for wrong in (0, -1, True, "5", float("inf"), float("nan")):

            def change(document: dict[str, Any], wrong: Any = wrong) -> None:
                document["paths"]["/notes"]["get"]["x-hospproxy"]["deadline_s"] = wrong

            [error] = self.errors(change)
            self.assertEqual(
                error, "paths./notes.get.x-hospproxy.deadline_s: must be a number of seconds above 0"
            )

    def test_what_is_no_contract_at_all(self) -> None:
        for document in (None, [], {}, {"paths": {}}, {"paths": 3}):
            with self.assertRaises(ContractError):
                contract_document.read(document)

    def test_files_that_cannot_be_read(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "bad.yaml").write_text("a: [")
        (folder / "latin.yaml").write_bytes(b"\xff")
        for name in ("missing.yaml", "bad.yaml", "latin.yaml"):
            with self.assertRaises(ContractError) as caught:
                contract_document.load(folder / name)
            self.assertIn(name, caught.exception.errors[0])

    def test_a_schema_error_never_repeats_the_value(self) -> None:
        check = CONTRACT.operation("createStaff").check
        assert check is not None
        (wrong,) = check({"name": "a", "hospital_id": 1, "password": ["hunter2"]})
        self.assertEqual(wrong.field, "password")
        self.assertNotIn("hunter2", wrong.message)
