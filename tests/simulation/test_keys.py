"""Keys after a power cut: complete, or missing."""

from __future__ import annotations

from hospproxy.keys.signing_key import PublicKeys
from tests.simulation.worlds import OPTIONS, WorldTestCase


class PowerCuts(WorldTestCase):
    """A machine loses its power just after its first start."""

    def test_the_public_key_is_whole_or_not_there(self) -> None:
        world = self.bare()
        for number in range(20):
            machine = world.machine(f"m{number}", "10.0.0.1")
            machine.start(OPTIONS)
            world.run_until(world.seconds() + 1.0)
            machine.power_cut()
            path = machine.state_dir / "audit-signing.pub"
            if path.exists():
                PublicKeys.read([path])
        self.assertEqual(world.errors, [])
