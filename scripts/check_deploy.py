"""Check what is in deploy/: the unit of systemd with its user and folders, the Compose file, the Kubernetes manifests.

    python scripts/check_deploy.py

systemd's own tools look at copies below an empty folder that stands for the root of a machine: a unit whose programs do
not exist is an error to them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_KUBERNETES = "1.32"
MOST_EXPOSED = 15
"""Tenths of systemd's exposure level, 0 to 100, that the unit may have."""


def run(command: Sequence[str | Path]) -> Iterator[str]:
    """Run a tool; yield a problem with its output if it fails, or says anything about a file of ours."""
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode:
        yield f"{command[0]} ended with {done.returncode}:\n{said}"


def systemd(folder: Path, target: Path) -> Iterator[str]:
    """Check the unit, and that sysusers.d and tmpfiles.d give a machine the user and the folders that it names.

    :param folder: deploy/systemd.
    :param target: an empty folder that stands for a machine's root.
    """
    for part in ("sysusers.d", "tmpfiles.d"):
        shutil.copytree(folder / part, target / "etc" / part)
    unit = target / "etc/systemd/system/hospproxy.service"
    unit.parent.mkdir(parents=True)
    text = (folder / unit.name).read_text()
    unit.write_text(text)
    shutil.copy(folder / "hospproxy.socket", unit.parent)
    # Programs that the unit starts must exist, and the targets that it names.
    for program in re.findall(r"^Exec\w+=[-+!@:]*(/\S+)", text, re.MULTILINE):
        path = target / program.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    units = target / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for each in Path("/usr/lib/systemd/system").glob("*.target"):
        shutil.copy(each, units)
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={target}"]
    yield from run([*verify, unit.name, "hospproxy.socket"])
    yield from run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={MOST_EXPOSED}", unit]
    )
    for tool in (["systemd-sysusers"], ["systemd-tmpfiles", "--dry-run", "--create"]):
        yield from run([*tool, f"--root={target}"])
    users = (target / "etc/passwd").read_text() if (target / "etc/passwd").exists() else ""
    for user in re.findall(r"^User=(\S+)", text, re.MULTILINE):
        if not re.search(rf"^{user}:", users, re.MULTILINE):
            yield f"{unit.name}: sysusers.d does not make the user {user}"


def compose(file: Path) -> Iterator[str]:
    """Check a Compose file against the Compose specification."""
    tool = Path(sys.executable).with_name("check-jsonschema")
    yield from run([tool, "--quiet", "--builtin-schema", "vendor.compose-spec", file])


def kubernetes(overlay: Path, target: Path) -> Iterator[str]:
    """Build an overlay with kustomize, and check what it makes against the schemas of the oldest Kubernetes we support.

    :param target: the file to write.
    """
    built = subprocess.run(["kustomize", "build", overlay], capture_output=True, text=True, check=False)  # noqa: S607
    if built.returncode or built.stderr:
        yield f"kustomize build {overlay.name}: {built.stderr}"
        return
    target.write_text(built.stdout)
    tool = Path(sys.executable).with_name("kubernetes-validate")
    yield from run([tool, "--quiet", "--strict", "--kubernetes-version", OLDEST_KUBERNETES, target])


def main() -> int:
    """Return 0 if there is nothing to mend."""
    with tempfile.TemporaryDirectory(prefix="hospproxy-deploy-") as temporary:
        problems = [
            *systemd(ROOT / "deploy/systemd", Path(temporary) / "machine"),
            *compose(ROOT / "deploy/compose.yaml"),
            *(
                problem
                for overlay in sorted((ROOT / "deploy/kubernetes/overlays").iterdir())
                for problem in kubernetes(overlay, Path(temporary) / f"{overlay.name}.yaml")
            ),
        ]
    for problem in problems:
        print(f"✗ {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
