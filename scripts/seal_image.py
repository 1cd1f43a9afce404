"""Prepare an installed environment for an image: remove stand-in and simulation, generate twistd's list of plugins.

Run it with the Python of that environment. It fails if ``hospproxy`` is not among the plugins afterwards.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path


def main() -> int:
    """Return 0 when the environment is ready."""
    site = Path(sysconfig.get_path("purelib"))
    plugins = site / "twisted" / "plugins"
    for left_out in ("hosp_standin", "simulation"):
        shutil.rmtree(site / left_out)
    (plugins / "hosp_standin_plugin.py").unlink()
    for compiled in (plugins / "__pycache__").glob("hosp_standin_plugin.*"):
        compiled.unlink()
    for stale in plugins.glob("dropin.cache"):
        stale.unlink()

    from twisted.application.service import IServiceMaker
    from twisted.plugin import getPlugins

    names = {plugin.tapname for plugin in getPlugins(IServiceMaker)}
    if "hospproxy" not in names or "hosp-standin" in names or not (plugins / "dropin.cache").exists():
        print(f"not as it should be: {sorted(names)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
