"""What is risky with the contract in force: a warning names the option, and what of the contract it concerns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from attrs import evolve

from hospproxy.checks import check
from hospproxy.contract import document as contract_document
from tests.settings_case import SettingsTestCase

HOSP = yaml.safe_load(Path(contract_document.__file__).with_name("hosp.openapi.yaml").read_text("utf-8"))


class ContractChecksTestCase(SettingsTestCase):
    def warnings(self, document: dict[str, Any] | None = None, **changes: Any) -> list[str]:
        """The warnings that a start with this contract gives."""
        if document is not None:
            changes["contract_file"] = self.folder / "contract.yaml"
            changes["contract_file"].write_text(yaml.safe_dump(document))
        found = check(evolve(self.good, **changes))
        self.assertEqual(found.errors, ())
        return list(found.warnings)


class HiddenRouteTests(ContractChecksTestCase):
    def with_route(self, template: str, kind: str = "") -> dict[str, Any]:
        operation = {"operationId": "getOther", "x-hospproxy": {"action": "read"}, "responses": {}}
        item: dict[str, Any] = {"get": operation}
        if kind:
            item["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": kind}}]
        return {**HOSP, "paths": {**HOSP["paths"], template: item}}

    def test_the_warning_names_the_option_and_the_route(self) -> None:
        for template, kind in (("/openapi", ""), ("/{name}", "string")):
            (line,) = self.warnings(self.with_route(template, kind), publish_contract=True)
            self.assertTrue(line.startswith("publish_contract: /openapi and /openapi.json "), line)
            self.assertIn(f"own route {template} there", line)

    def test_no_route_is_hidden(self) -> None:
        self.assertEqual(self.warnings(publish_contract=True), [])
        self.assertEqual(self.warnings(self.with_route("/openapi")), [], "it is not published")
        for template, kind in (("/openapi/other", ""), ("/{name}", "integer")):
            self.assertEqual(self.warnings(self.with_route(template, kind), publish_contract=True), [])
