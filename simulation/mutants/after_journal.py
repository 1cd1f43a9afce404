"""Defects planted in what follows the journal: the courier, and how far a sink counts as having come."""

from __future__ import annotations

from collections.abc import Mapping

from .injection import Mutant

MUTANTS: Mapping[str, Mutant] = {
    each.name: each
    for each in (
        Mutant(
            "courier-not-replaced",
            "hospproxy/courier/supervised.py",
            "        self._restart = self._reactor.callLater(pause_s, self._begin)",
            "        self._restart = None",
            "a courier that died has no successor",
            scene="courier",
        ),
        Mutant(
            "service-ends-with-courier",
            "hospproxy/courier/supervised.py",
            "        if channel is self._channel and not self._stopping:\n            self._kill()",
            "        if channel is self._channel and not self._stopping:\n            self._reactor.stop()",
            "the service stops when its courier dies",
            scene="courier",
        ),
        Mutant(
            "closed-files-not-packed",
            "hospproxy/courier/delivery.py",
            "        if ends:\n            self._upkeep",
            "        if not ends:\n            self._upkeep",
            "closed files of the journal are never packed",
            scene="courier",
        ),
        Mutant(
            "position-before-delivery",
            "hospproxy/record/sinks/carrier.py",
            "            await self._carry(found)\n            way.position = found.position",
            "            await self._save(found.position)\n            await self._carry(found)\n"
            "            way.position = found.position",
            "a sink counts as having come so far before it has the records",
            scene="courier",
        ),
        Mutant(
            "index-forgets-how-far",
            "hospproxy/record/columns/upkeep.py",
            "self._replace(manifest, segments, {**manifest.covered, **adding.covered})",
            "self._replace(manifest, segments, manifest.covered)",
            "the index takes records again that it holds already",
            scene="courier",
        ),
    )
}
