"""A caching proxy on Flask, with Redis, as teams built it in front of HOSP; gunicorn runs ``make()``.

It asks the upstream with `http.client` over kept-alive connections, one a thread, and keeps each response in Redis by
path, query and credentials.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import threading

import redis
from flask import Flask, Response, request

_KEPT_S = 86_400


def make() -> Flask:
    """The application; REDIS_PORT and UPSTREAM_PORT are in the environment."""
    store = redis.Redis(host="127.0.0.1", port=int(os.environ["REDIS_PORT"]))
    upstream, own = int(os.environ["UPSTREAM_PORT"]), threading.local()
    app = Flask(__name__)

    def ask(path: str, authorization: str) -> tuple[int, str, bytes]:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection("127.0.0.1", upstream)
        headers = {"Host": request.host, "Authorization": authorization, "Accept": "application/json"}
        own.connection.request("GET", path, headers=headers)
        answer = own.connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()

    @app.get("/", defaults={"path": ""})
    @app.get("/<path:path>")
    def respond(path: str) -> Response:
        target = request.full_path.rstrip("?")
        authorization = request.headers.get("Authorization", "")
        key = hashlib.sha256(f"{authorization}\n{target}".encode()).digest()
        kept = store.get(key)
        if kept is not None:
            return Response(kept, content_type="application/json; charset=utf-8")
        status, kind, body = ask(target, authorization)
        if status == 200:
            store.set(key, body, ex=_KEPT_S)
        return Response(body, status=status, content_type=kind)

    return app
