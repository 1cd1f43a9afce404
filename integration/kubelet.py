"""Does with plain processes what a cluster does with deploy/kubernetes: volumes, probes, endpoints, a rolling update.

The manifests are those that kustomize builds. Only addresses, ports and paths are other ones; probes keep their paths,
periods and thresholds, and a stop its hook and its time.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import yaml
from attrs import define, field
from twisted.internet import defer, task
from twisted.protocols import portforward

from .http_client import ask
from .ports import free_port
from .processes import Processes, Proxy
from .redis_server import Redis
from .test_fates import until

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
PROPAGATION_S = 2.0
"""Seconds until the nodes of a cluster have learnt that a pod is no longer an endpoint."""


def built(overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay, as kustomize builds them."""
    command = ["kustomize", "build", str(DEPLOY / "kubernetes" / "overlays" / overlay)]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [each for each in yaml.safe_load_all(made) if each]


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """An object; generated names have a hash behind them."""
    return next(
        each
        for each in objects
        if each["kind"] == kind and re.fullmatch(rf"{name}(-\w+)?", each["metadata"]["name"])
    )


async def pause(seconds: float) -> None:
    """Wait without blocking the reactor."""
    from twisted.internet import reactor

    await task.deferLater(cast(Any, reactor), seconds, lambda: None)


class Balancer(portforward.ProxyFactory):
    """What kube-proxy is for a Service: each connection goes to one of the endpoints, and nothing is tried again."""

    noisy = False

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0)  # type: ignore[no-untyped-call]
        self.endpoints: list[int] = []
        self._count = 0

    def buildProtocol(self, addr: Any) -> Any:
        """Choose the endpoint of a new connection; without one the connection is closed."""
        if not self.endpoints:
            return None
        self._count += 1
        self.port = self.endpoints[self._count % len(self.endpoints)]
        return super().buildProtocol(addr)


@define(eq=False)
class Pod:
    """One pod of the StatefulSet.

    :ivar ready: as the readiness probe says.
    :ivar failed: what a kubelet would have restarted the container for.
    """

    proxy: Proxy
    ready: bool = False
    terminating: bool = False
    failed: list[str] = field(factory=list)


@define(eq=False)
class Cluster:
    """Kubelet, endpoints controller and StatefulSet controller for the pods of one overlay.

    :ivar balancer: in front of the pods.
    """

    processes: Processes
    folder: Path
    upstream: str
    objects: list[dict[str, Any]] = field(factory=lambda: built("two"))
    pods: dict[int, Pod] = field(factory=dict)
    balancer: Balancer = field(factory=Balancer)
    _redis: Redis | None = None

    @property
    def _spec(self) -> dict[str, Any]:
        return cast("dict[str, Any]", named(self.objects, "StatefulSet", "hospproxy")["spec"])

    @property
    def _pod(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._spec["template"]["spec"])

    @property
    def _container(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._pod["containers"][0])

    async def up(self) -> None:
        """Make the Secret, start Redis and all pods at one time, and wait until they are ready."""
        secrets = self.folder / "secrets"
        secrets.mkdir()
        script = DEPLOY / "compose" / "make_secrets.py"
        conf = DEPLOY / "scale" / "redis.conf"
        made = await self.processes.run("secrets", sys.executable, str(script), str(secrets), str(conf))
        assert made.status == 0, made.log
        users = (secrets / "redis.acl").read_text().splitlines()
        self._redis = await self.processes.redis(*users)
        for ordinal in range(self._spec["replicas"]):
            self.start(ordinal)
        await self.all_ready()

    async def all_ready(self) -> None:
        """Wait until every pod is ready; a new one becomes an endpoint at once."""

        async def ready() -> bool:
            return all(each.ready for each in self.pods.values())

        await until(ready, "all pods are ready", 120.0)

    def start(self, ordinal: int) -> None:
        """Start a pod on its volume, and probe it."""
        before = self.pods.get(ordinal)
        proxy = Proxy(f"hospproxy-{ordinal}", port=free_port(), admin_port=free_port())
        proxy.state = before.proxy.state if before else self.folder / f"volume-{ordinal}" / "state"
        proxy.state.parent.mkdir(exist_ok=True, mode=0o775)  # the folder of a volume, as fsGroup leaves it
        file = self.folder / f"options-{ordinal}.toml"
        file.write_text(self._options(proxy))
        pod = self.pods[ordinal] = Pod(proxy)
        self.processes.twistd(proxy, "hospproxy", "--config", str(file))
        defer.ensureDeferred(self._probed(pod, ordinal))

    def _options(self, proxy: Proxy) -> str:
        assert self._redis is not None
        options: str = named(self.objects, "ConfigMap", "hospproxy-options")["data"]["hospproxy.toml"]
        for old, new in {
            '"/var/lib/hospproxy/state"': json.dumps(str(proxy.state)),
            '"/secrets/': f'"{self.folder}/secrets/',
            '"http://10.0.0.3:3000"': json.dumps(self.upstream),
            "0.0.0.0:8443": f"127.0.0.1:{proxy.port}",
            "0.0.0.0:9443": f"127.0.0.1:{proxy.admin_port}",
            "hospproxy-redis:6379": f"127.0.0.1:{self._redis.port}",
        }.items():
            assert old in options, old
            options = options.replace(old, new)
        return options

    async def _probed(self, pod: Pod, ordinal: int) -> None:
        """Probe a pod as its kubelet does, until it ends."""
        if not await self._started(pod, ordinal, self._container["startupProbe"]):
            pod.failed.append("startup")
            return
        for name, mark in (("readinessProbe", self._set_ready), ("livenessProbe", self._set_live)):
            defer.ensureDeferred(self._repeated(pod, ordinal, self._container[name], mark))

    async def _repeated(
        self, pod: Pod, ordinal: int, probe: dict[str, Any], mark: Callable[[Pod, bool], None]
    ) -> None:
        failures = 0
        while pod.proxy.status is None:
            passed = await self._asked(pod, ordinal, probe)
            failures = 0 if passed else failures + 1
            if passed or failures >= probe["failureThreshold"]:
                mark(pod, passed)
            await pause(probe["periodSeconds"])
        mark(pod, pod.terminating)

    async def _started(self, pod: Pod, ordinal: int, probe: dict[str, Any]) -> bool:
        for _ in range(probe["failureThreshold"]):
            if await self._asked(pod, ordinal, probe):
                return True
            await pause(probe["periodSeconds"])
        return False

    async def _asked(self, pod: Pod, ordinal: int, probe: dict[str, Any]) -> bool:
        from twisted.internet import reactor

        asks = probe["httpGet"]
        ports = {each["name"]: each["containerPort"] for each in self._container["ports"]}
        here = {8443: pod.proxy.port, 9443: pod.proxy.admin_port}[ports[asks["port"]]]
        # The pod's address, as a kubelet writes it: no name of this machine.
        host = {"Host": f"10.244.1.{10 + ordinal}:{ports[asks['port']]}", "User-Agent": "kube-probe/1.32"}
        asked = ask(f"{asks['scheme'].lower()}://127.0.0.1:{here}", "GET", asks["path"], headers=host)
        asked.addTimeout(probe["timeoutSeconds"], cast(Any, reactor))
        try:
            return 200 <= (await asked).status < 400
        except (OSError, defer.TimeoutError):
            return False

    def _set_ready(self, pod: Pod, passed: bool) -> None:
        pod.ready = passed and not pod.terminating
        self._publish()

    def _set_live(self, pod: Pod, passed: bool) -> None:
        if not passed:
            pod.failed.append("liveness")

    def _publish(self) -> None:
        """Tell the balancer, which learns of a pod that left later than of one that came."""
        from twisted.internet import reactor

        now = [each.proxy.port for each in self.pods.values() if each.ready]
        self.balancer.endpoints += [port for port in now if port not in self.balancer.endpoints]
        gone = [port for port in self.balancer.endpoints if port not in now]
        for port in gone:
            cast(Any, reactor).callLater(PROPAGATION_S, self._forget, port)

    def _forget(self, port: int) -> None:
        if port in self.balancer.endpoints and all(
            each.proxy.port != port or not each.ready for each in self.pods.values()
        ):
            self.balancer.endpoints.remove(port)

    async def delete(self, ordinal: int) -> None:
        """Delete a pod: its endpoint goes, its hook runs, it gets SIGTERM, and must end within its grace period."""
        pod = self.pods[ordinal]
        pod.terminating, pod.ready = True, False
        self._publish()
        grace_s = self._pod["terminationGracePeriodSeconds"]
        hook = self._container["lifecycle"]["preStop"]["exec"]["command"]
        ran = await self.processes.run("preStop", *hook, timeout_s=grace_s)
        assert ran.status == 0, ran.log
        assert await pod.proxy.stop(timeout_s=grace_s - float(hook[-1])) == 0, pod.proxy.log

    async def rolling_update(self) -> None:
        """Replace every pod, the last one first; the next one once its successor has been ready for minReadySeconds."""
        for ordinal in reversed(range(self._spec["replicas"])):
            await self.delete(ordinal)
            self.start(ordinal)
            await self.all_ready()
            await pause(self._spec["minReadySeconds"])
