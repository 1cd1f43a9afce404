"""``python aiohttp_proxy.py PORT UPSTREAM_PORT``: a reverse proxy on aiohttp that passes on what comes, and no more."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}


def application(upstream: str) -> web.Application:
    """The proxy; its session to the upstream lives as long as it does."""
    made = web.Application()
    session = web.AppKey("session", aiohttp.ClientSession)

    async def pass_on(request: web.Request) -> web.Response:
        body = await request.read()
        async with request.app[session].request(
            request.method, upstream + request.raw_path, headers=request.headers, data=body or None,
            allow_redirects=False, auto_decompress=False,
        ) as answer:  # fmt: skip
            kept = [
                (name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP
            ]
            content = await answer.read()
        return web.Response(status=answer.status, headers=dict(kept), body=content)

    async def with_session(app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as made_session:
            app[session] = made_session
            yield

    made.cleanup_ctx.append(with_session)
    made.router.add_route("*", "/{path:.*}", pass_on)
    return made


if __name__ == "__main__":
    web.run_app(
        application(f"http://127.0.0.1:{int(sys.argv[2])}"), host="127.0.0.1", port=int(sys.argv[1]),
        access_log=None, print=None, backlog=16384,
    )  # fmt: skip
