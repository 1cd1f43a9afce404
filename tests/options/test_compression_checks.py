"""The section [compression]: codings that cannot be made, and operations whose length gives something away."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from hospproxy.checks import check
from hospproxy.config import ConfigError
from hospproxy.options import compression_checks
from hospproxy.options.compression_section import CompressionSettings
from hospproxy.options.loader import structure

from .test_contract_checks import ContractChecksTestCase


class CompressionTests(ContractChecksTestCase):
    def section(self, **keys: Any) -> CompressionSettings:
        return CompressionSettings(**{"enabled": True, **keys})

    def errors(self, **keys: Any) -> list[str]:
        return list(check(evolve(self.good, compression=self.section(**keys))).errors)

    def test_what_everybody_may_know_needs_no_warning(self) -> None:
        for names in ((), ("listHospitals",)):
            self.assertEqual(self.warnings(compression=self.section(further_operations=names)), [])

    def test_each_risk_is_named(self) -> None:
        risky = self.section(further_operations=("listHospitals", "listNotes"))
        (line,) = self.warnings(compression=risky)
        self.assertTrue(line.startswith("compression.further_operations[1]: a user who can write into"), line)
        self.assertIn("listNotes", line)
        off = self.section(further_operations=("listNotes",), enabled=False)
        self.assertEqual(self.warnings(compression=off), [])

    def test_operations_are_reads_of_the_contract(self) -> None:
        for name in ("listCats", "createNote"):
            (line,) = self.errors(further_operations=("getMe", name))
            self.assertTrue(
                line.startswith("compression.further_operations[1]: the contract has no such read"), line
            )
            self.assertIn("listPatients", line)

    def test_zstd_needs_what_makes_it(self) -> None:
        found: list[str] = []

        def find_spec(name: str) -> Any:
            if name not in found:
                raise ModuleNotFoundError(name)
            return object()

        self.patch(compression_checks, "find_spec", find_spec)
        (line,) = self.errors(codings=("gzip", "zstd"))
        self.assertTrue(line.startswith("compression.codings: zstd needs Python 3.14, or "), line)
        self.assertIn("pip install hospproxy[zstd]", line)
        self.assertEqual(self.errors(codings=("zstd",), enabled=False), [])
        for module in ("compression.zstd", "backports.zstd"):
            found[:] = [module]
            self.assertEqual(self.errors(codings=("zstd",)), [])

    def test_other_codings_are_refused(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            structure({"upstream": {"url": "http://h:1"}, "compression": {"codings": ["gzip", "br"]}})
        self.assertIn("compression.codings", str(caught.exception))
