"""Makes the tracer, and what sends its spans, from the settings."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from attrs import frozen

from ..config import Settings
from ..interfaces import IMeter
from ..options.traces_section import read_headers
from ..outward.upstream_request import UpstreamTarget
from ..process.host import Host
from ..record.sinks.signed_post import SignedPoster
from .exporter import Exporter
from .otlp import document
from .sampler import Sampler
from .tracer import Tracer

_TIMEOUT_S: Final = 5.0


@frozen(slots=True)
class Traces:
    """The parts that trace; all None if ``traces.endpoint`` is not set."""

    tracer: Tracer | None = None
    sampler: Sampler | None = None
    exporter: Exporter | None = None

    async def stop(self, within_s: float) -> None:
        """Send the spans that have not been posted yet.

        :param within_s: seconds for that.
        """
        if self.exporter is not None:
            await self.exporter.stop(within_s)


def traces_for(settings: Settings, reactor: Any, host: Host, meter: IMeter) -> Traces:
    """Build the parts that trace requests, and start none."""
    given = settings.traces
    if given.endpoint is None:
        return Traces()
    made, instance = version("hospproxy"), host.token(8)
    resource = {"service.name": given.service, "service.version": made, "service.instance.id": instance}
    poster = SignedPoster(reactor, given.endpoint, None, given.ca_file, timeout_s=_TIMEOUT_S, wall=host.wall)
    headers = {} if given.headers_file is None else read_headers(given.headers_file)
    exporter = Exporter(reactor, poster, lambda spans: document(spans, resource, made), headers, meter)
    sampler = Sampler(given.sample, given.follow_parent, host.random)
    target = UpstreamTarget.from_url(settings.upstream.url)
    upstream: dict[str, str | int] = {
        "server.address": target.host,
        "server.port": target.port,
        "url.full": f"{target.scheme}://{target.authority}{target.base}",
    }
    return Traces(Tracer(sampler, exporter.add, host.entropy, upstream), sampler, exporter)
