"""hospproxy and its peers, each started with a configuration that does the comparable thing."""

from __future__ import annotations

import contextlib
import datetime
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from integration.ports import free_port

from .processes import pinned, run

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "build" / "peers" / "bin"
SERVERS = Path(__file__).resolve().parent / "servers"
_DAY = 86_400


@frozen
class Site:
    """What a peer is started with.

    :param folder: its own, empty.
    :param upstream: port of the upstream.
    :param caching: whether it may answer from its cache; otherwise it passes everything on.
    :param workers: processes that serve.
    :param tls: for peers that serve either TLS or plain HTTP: which.
    :param before: words in front of the command of hospproxy or nginx; nginx is then a single process.
    :param twistd: words that run twistd, instead of its script.
    :param options: more sections for hospproxy's options file.
    :param checkout: where hospproxy's code is; None for this checkout.
    """

    folder: Path
    upstream: int
    certificate: Path
    key: Path
    caching: bool = True
    workers: int = 1
    tls: bool = False
    before: tuple[str, ...] = ()
    twistd: tuple[str, ...] = ()
    options: str = ""
    checkout: Path | None = None

    @property
    def cores(self) -> frozenset[int]:
        """One core for one worker, all for more."""
        return pinned("peer" if self.workers == 1 else "both")


@frozen
class Peer:
    """A running peer.

    :param plain: port of plain HTTP, None if it has none; `tls` likewise.
    :param roots: process ids whose trees are counted.
    """

    plain: int | None
    tls: int | None
    roots: tuple[int, ...]
    admin: int = 0


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed P-256 certificate and its key; every peer serves the same one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(parents=True, exist_ok=True)
    chain, private = folder / "certificate.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(pem))
    private.touch(mode=0o600)
    private.write_bytes(secret)
    return chain, private


OPTIONS = """
[cache]
enabled = {caching}
max_bytes = 1073741824
[cache.lifetimes]
listHospitals = 86400
listPatients = 86400
getHospital = 86400
getPatient = 86400
getMe = 86400
[identity]
remember_s = 86400
[gate]
concurrency = 1000
max_queue = 100000
[audit]
rotate_bytes = 8388608
[arrival]
max_connections = 20000
max_connections_per_address = 20000
max_handshakes = 20000
max_handshakes_per_address = 20000
handshake_rate_per_address = 1000000
"""
"""Everything is on. Raised: lifetimes, so that hits stay hits, and limits that one address would reach. Journal files
are closed early, so that a short run pays for packing them too."""


@contextlib.contextmanager
def hospproxy(site: Site) -> Iterator[Peer]:
    """hospproxy with all its processors, a commit of each record before its response, and the index."""
    tls, plain, admin, state = free_port(), free_port(), free_port(), site.folder / "state"
    with contextlib.ExitStack() as stack:
        more, roots = "", []
        if site.workers > 1:
            redis, pid = stack.enter_context(redis_server(site.folder, site.cores))
            more, roots = f'[redis]\nenabled = true\nurl = "redis://127.0.0.1:{redis}"\n', [pid]
        file = site.folder / "hospproxy.toml"
        pair = f'certificate_file = "{site.certificate}"\nprivate_key_file = "{site.key}"\n'
        file.write_text(
            f'state_dir = "{state}"\nworkers = {site.workers}\ndeadline_s = 300\n'
            f'[upstream]\nurl = "http://127.0.0.1:{site.upstream}"\n[admin]\nurl = "http://127.0.0.1:{admin}"\n'
            f'[[listeners]]\nurl = "https://127.0.0.1:{tls}"\n{pair}'
            f'[[listeners]]\nurl = "http://127.0.0.1:{plain}"\nplain = "serve"\n'
            + OPTIONS.format(caching=str(site.caching).lower())
            + more
            + site.options
        )
        twistd = site.twistd or (str(Path(sys.executable).parent / "twistd"),)
        options = ["-n", "--pidfile=", "hospproxy", "--config", str(file)]
        command = [*site.before, sys.executable, *twistd, *options]
        code = {} if site.checkout is None else {"PYTHONPATH": str(site.checkout)}
        pid = stack.enter_context(
            run(
                "hospproxy",
                command,
                site.folder,
                ports=[tls, plain, admin],
                cores=site.cores,
                environment=code,
            )
        )
        yield Peer(plain, tls, (pid, *roots), admin)


@contextlib.contextmanager
def redis_server(folder: Path, cores: frozenset[int]) -> Iterator[tuple[int, int]]:
    """A Redis that keeps nothing on disk; yields its port and process id."""
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with run("redis", command, folder, ports=[port], cores=cores) as pid:
        yield port, pid


@contextlib.contextmanager
def nginx(site: Site) -> Iterator[Peer]:
    """nginx with proxy_cache by path, query and credentials; no log."""
    plain, tls, file = free_port(), free_port(), site.folder / "nginx.conf"
    cache = (
        "proxy_cache all; proxy_cache_key $request_uri$http_authorization; proxy_cache_valid 200 1d;"
        " proxy_ignore_headers Cache-Control Expires Vary;"
    )
    file.write_text(
        f"""daemon off; master_process {"off" if site.before else "on"}; user root;
worker_processes {site.workers}; pid nginx.pid; error_log stderr crit;
worker_rlimit_nofile 20000; events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_timeout 300; keepalive_requests 1000000000; server_tokens off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  proxy_cache_path cache keys_zone=all:200m max_size=1g inactive=1d;
  upstream hosp {{ server 127.0.0.1:{site.upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{plain} backlog=16384; listen 127.0.0.1:{tls} ssl backlog=16384;
    ssl_certificate {site.certificate}; ssl_certificate_key {site.key};
    location / {{
      proxy_pass http://hosp; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 300;
      proxy_set_header Host $host;
      {cache if site.caching else ""}
    }}
  }}
}}
"""
    )
    command = [*site.before, "/usr/sbin/nginx", "-p", str(site.folder), "-c", str(file)]
    with run("nginx", command, site.folder, ports=[plain, tls], cores=site.cores) as pid:
        yield Peer(plain, tls, (pid,))


@contextlib.contextmanager
def haproxy(site: Site) -> Iterator[Peer]:
    """HAProxy with its cache. It neither keys by a header nor caches with credentials: both are hidden in the query."""
    plain, tls, file = free_port(), free_port(), site.folder / "haproxy.cfg"
    both = site.folder / "both.pem"
    both.write_bytes(site.certificate.read_bytes() + site.key.read_bytes())
    caching = """
  http-request set-query %[query]&by=%[req.hdr(authorization),sha1,hex]
  http-request set-header X-Hidden %[req.hdr(authorization)]
  http-request del-header Authorization
  http-request cache-use all
  http-response set-header Cache-Control public,max-age=3600
  http-response del-header Vary
  http-response cache-store all"""
    restoring = """
  http-request set-pathq %[pathq,regsub([?]?&by=[0-9A-F]*$,)]
  http-request set-header Authorization %[req.hdr(x-hidden)]
  http-request del-header X-Hidden"""
    file.write_text(
        f"""global
  nbthread {site.workers}
  maxconn 9990
  fd-hard-limit 20000
cache all
  total-max-size 256
  max-object-size 1000000
  max-age 3600
defaults
  mode http
  timeout client 300s
  timeout server 300s
  timeout connect 10s
  maxconn 9990
frontend front
  bind 127.0.0.1:{plain} backlog 16384
  bind 127.0.0.1:{tls} ssl crt {both} backlog 16384
  {caching if site.caching else ""}
  default_backend hosp
backend hosp
  http-reuse always
  {restoring if site.caching else ""}
  server hosp 127.0.0.1:{site.upstream}
"""
    )
    with run("haproxy", ["/usr/sbin/haproxy", "-db", "-f", str(file)], site.folder, ports=[plain, tls],
             cores=site.cores) as pid:  # fmt: skip
        yield Peer(plain, tls, (pid,))


@contextlib.contextmanager
def varnish(site: Site) -> Iterator[Peer]:
    """Varnish with a cache in memory, by path, query and credentials. It has no TLS of its own."""
    plain, file = free_port(), site.folder / "default.vcl"
    action = "hash" if site.caching else "pass"
    file.write_text(
        f"""vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{site.upstream}"; .first_byte_timeout = 300s; }}
sub vcl_recv {{ return ({action}); }}
sub vcl_hash {{ hash_data(req.http.Authorization); }}
sub vcl_backend_response {{ unset beresp.http.Vary; set beresp.ttl = 1d; return (deliver); }}
"""
    )
    command = [
        "/usr/sbin/varnishd", "-j", "none", "-F", "-a", f"127.0.0.1:{plain}", "-f", str(file),
        "-n", str(site.folder / "work"),
        "-s", "malloc,512m", "-T", "none", "-p", "listen_depth=16384", "-p", "timeout_idle=300",
    ]  # fmt: skip
    with run("varnish", command, site.folder, ports=[plain], cores=site.cores) as pid:
        yield Peer(plain, None, (pid,))


@contextlib.contextmanager
def mitmproxy(site: Site) -> Iterator[Peer]:
    """mitmdump as a reverse proxy, without output. It has no cache."""
    port = free_port()
    command = [
        str(PEERS / "mitmdump"), "-q", "--mode", f"reverse:http://127.0.0.1:{site.upstream}",
        "--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", f"confdir={site.folder}",
        "--set", "keep_host_header=true", "--set", "flow_detail=0", "--set", "connection_strategy=lazy",
    ]  # fmt: skip
    with run("mitmproxy", command, site.folder, ports=[port], cores=site.cores) as pid:
        yield Peer(port, port, (pid,))


@contextlib.contextmanager
def aiohttp(site: Site) -> Iterator[Peer]:
    """`servers/aiohttp_proxy.py`: passes on, no cache."""
    yield from _program("aiohttp_proxy.py", site)


@contextlib.contextmanager
def twisted(site: Site) -> Iterator[Peer]:
    """`servers/twisted_proxy.py`: passes on, no cache."""
    yield from _program("twisted_proxy.py", site)


def _program(name: str, site: Site) -> Iterator[Peer]:
    port = free_port()
    command = [str(PEERS / "python"), str(SERVERS / name), str(port), str(site.upstream)]
    with run(name.removesuffix(".py"), command, site.folder, ports=[port], cores=site.cores) as pid:
        yield Peer(port, None, (pid,))


@contextlib.contextmanager
def flask(site: Site) -> Iterator[Peer]:
    """`servers/flask_cache.py` under gunicorn with eight threads a worker, and its Redis, which is counted too."""
    port = free_port()
    with redis_server(site.folder, site.cores) as (redis, store):
        command = [
            str(PEERS / "gunicorn"), "--workers", str(site.workers), "--worker-class", "gthread", "--threads", "8",
            "--keep-alive", "300", "--bind", f"127.0.0.1:{port}", "--chdir", str(SERVERS), "--backlog", "16384",
            "--worker-connections", "10000",
            *(["--certfile", str(site.certificate), "--keyfile", str(site.key)] if site.tls else []),
            "flask_cache:make()",
        ]  # fmt: skip
        variables = {"REDIS_PORT": str(redis), "UPSTREAM_PORT": str(site.upstream)}
        with run(
            "gunicorn", command, site.folder, ports=[port], cores=site.cores, environment=variables
        ) as pid:
            yield Peer(None if site.tls else port, port if site.tls else None, (pid, store))


OURS = "hospproxy"
PLACES: Mapping[str, Callable[[Site], contextlib.AbstractContextManager[Peer]]] = {
    OURS: hospproxy,
    "nginx": nginx,
    "HAProxy": haproxy,
    "Varnish": varnish,
    "mitmproxy": mitmproxy,
    "aiohttp": aiohttp,
    "twisted.web": twisted,
    "Flask + Redis": flask,
}
CACHES = (OURS, "nginx", "HAProxy", "Varnish", "Flask + Redis")
"""Peers that have a cache."""
TLS = (OURS, "nginx", "HAProxy", "Flask + Redis")
"""Caches that speak TLS themselves."""
