"""schemathesis checks that the proxy's responses match the contract: no 5xx, nothing undocumented."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest_twisted
import yaml

from hospproxy.contract import document as contract_document

from .http_client import ask, control
from .processes import Processes

SEED = 20210327
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "30"))
"""Random requests for each operation, beside those of the contract's examples and limits (``make fuzz``: 500)."""
HOME = Path(__file__).parent
NOT_HERE = frozenset({"403", "409", "412", "429", "500", "502", "503", "504", "508"})
"""Statuses that need trouble, permissions, or header fields that are not sent here: none of them may occur."""


def strict_contract() -> dict[str, Any]:
    """The contract, reduced to the statuses that may occur here."""
    path = Path(contract_document.__file__).with_name("hosp.openapi.yaml")
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                for status in NOT_HERE | {"default"}:
                    operation["responses"].pop(status, None)
    return document


@pytest_twisted.ensureDeferred
async def test_no_5xx_and_nothing_undocumented(processes: Processes, tmp_path: Path) -> None:
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url)
    contract = tmp_path / "contract.json"
    contract.write_text(json.dumps(strict_contract()))
    trusted = proxy.state / "self-signed.crt"
    command = [
        f"{Path(sys.executable).with_name('schemathesis')} --config-file {HOME / 'schemathesis.toml'} run {contract}",
        f"--url {proxy.url} --tls-verify {trusted} --auth staff1:password1",
        "--phases examples,coverage,fuzzing --mode all",
        f"--max-examples {EXAMPLES} --seed {SEED} --max-failures 20 --no-shrink",
    ]
    environment = {"SCHEMATHESIS_HOOKS": str(HOME / "schemathesis_hooks.py"), "NO_COLOR": "1"}
    ran = await processes.run("schemathesis", *" ".join(command).split(), env=environment, timeout_s=600.0)
    assert ran.status == 0, ran.log[-12000:]
    # The run proves nothing if the credentials became invalid on the way, or if few requests reached HOSP.
    assert (await ask(proxy.url, "GET", "/staffs/me", user="staff1")).status == 200
    by_status = (await control(hosp.control_url, "GET", "/stats"))["by_status"]
    assert by_status["200"] + by_status["201"] > 400, by_status
    answers = [line for line in proxy.records() if line["kind"] == "request"]
    assert {line["status"] // 100 for line in answers} <= {2, 3, 4}
