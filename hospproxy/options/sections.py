"""The settings: one frozen class per section, each key with its unit, bounds and one sentence for the operator.

Bounds are checked for values from a file or a flag; a test may build settings outside of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import Factory, field, frozen
from attrs.converters import optional

from . import secret_fields
from .access_log_section import AccessLogBucketSettings, AccessLogSettings
from .addresses import Address, parse_address
from .admin_section import AdminSettings
from .admission_section import AdmissionSettings
from .alerts_section import AlertsSettings
from .answers_section import AnswersSettings
from .arrival_section import ArrivalSettings
from .audit_section import AuditSettings
from .bucket_section import BucketSettings
from .cache_section import CacheSettings
from .compression_section import CompressionSettings
from .copy_section import CopySettings
from .cors_section import CorsSettings
from .database_section import DatabaseSettings
from .fields import Network, address, choice, hosts, names, networks, number, path, switch, whole
from .front_section import FrontSettings, OriginSettings
from .gate_section import BreakerSettings, GateSettings
from .http_section import HttpSinkSettings
from .listeners_section import ListenerSettings
from .log_section import LogSettings
from .page_section import AuditPageSettings
from .permissions_section import PermissionsSettings
from .plugins_section import AuditPluginSettings
from .redis_section import RedisSettings
from .status_section import StatusSettings
from .syslog_section import SyslogSettings
from .traces_section import TracesSettings

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
_ENFORCE = (
    "`enforce` refuses a request that breaks the rule; `report` lets it pass and records the violation."
)


@frozen(slots=True, kw_only=True)
class UpstreamSettings:
    """The connection to HOSP, the upstream."""

    LIVE: ClassVar = names("connect_timeout_s max_header_bytes max_body_bytes idle_connection_s")
    RESTART: ClassVar = names("url ca_file")

    url: str = field(metadata=address("Address of HOSP. Required, here or as `--upstream`.", "http", "https"))
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("CA certificates (PEM) to trust for an `https://` upstream, instead of the system's."),
    )
    connect_timeout_s: float = field(
        default=3.0, metadata=number("seconds", 0.05, 60, "Timeout for opening a connection to HOSP.")
    )
    max_header_bytes: int = field(
        default=64 * KiB,
        metadata=whole(
            "bytes", KiB, MiB, "Longest response head (status line and header fields) accepted from HOSP."
        ),
    )
    max_body_bytes: int = field(
        default=16 * MiB, metadata=whole("bytes", KiB, GiB, "Longest response body accepted from HOSP.")
    )
    idle_connection_s: float = field(
        default=30.0,
        metadata=number("seconds", 0, 3600, "How long an idle connection to HOSP stays open for reuse."),
    )

    @property
    def address(self) -> Address:
        return parse_address(self.url)


@frozen(slots=True, kw_only=True)
class ValidationSettings:
    """Checks requests against the contract."""

    LIVE: ClassVar = names("enabled mode")
    RESTART: ClassVar = names("")

    enabled: bool = field(default=True, metadata=switch("Validate bodies and parameters."))
    mode: str = field(default="enforce", metadata=choice(_ENFORCE, "enforce", "report"))


@frozen(slots=True, kw_only=True)
class IdentitySettings:
    """Finds out from HOSP which member of staff is calling."""

    LIVE: ClassVar = names("remember_s offline_grace_s")
    RESTART: ClassVar = names("enabled max_remembered")

    enabled: bool = field(default=True, metadata=switch("Identify the principal of each request."))
    remember_s: float = field(
        default=300.0,
        metadata=number(
            "seconds",
            0,
            86400,
            "How long credentials that HOSP accepted are trusted before HOSP is asked again.",
        ),
    )
    offline_grace_s: float = field(
        default=43200.0,
        metadata=number(
            "seconds",
            0,
            7 * 86400,
            "While HOSP is unreachable: how long after HOSP last accepted them credentials may still read"
            " cached responses. 0: never.",
        ),
    )
    max_remembered: int = field(
        default=10000,
        metadata=whole("credentials", 1, 1_000_000, "Most credentials remembered at once."),
    )


@frozen(slots=True, kw_only=True)
class OwnershipSettings:
    """Makes each note carry the member of staff who wrote it as its author."""

    LIVE: ClassVar = names("enabled policy mode")
    RESTART: ClassVar = names("")

    enabled: bool = field(default=True, metadata=switch("Check authors. Needs `identity.enabled`."))
    policy: str = field(
        default="assign",
        metadata=choice(
            "`assign` sets the author to the calling member of staff; `refuse` rejects a note in"
            " another's name.",
            "assign",
            "refuse",
        ),
    )
    mode: str = field(default="enforce", metadata=choice(_ENFORCE, "enforce", "report"))


@frozen(slots=True, kw_only=True)
class ScreeningSettings:
    """Stores each screening result as a note on the patient."""

    LIVE: ClassVar = names("enabled max_pending retry_base_s retry_cap_s")
    RESTART: ClassVar = names("")

    enabled: bool = field(
        default=True,
        metadata=switch("Store results as notes. Needs `identity.enabled` and `writes.enabled`."),
    )
    max_pending: int = field(
        default=1000,
        metadata=whole(
            "notes",
            1,
            100_000,
            "Most notes waiting to be stored; a long result makes several. Beyond it a screening gets 503.",
        ),
    )
    retry_base_s: float = field(
        default=2.0,
        metadata=number("seconds", 0.01, 600, "First backoff before the proxy tries again to store a note."),
    )
    retry_cap_s: float = field(
        default=60.0,
        metadata=number("seconds", 0.01, 86400, "Longest backoff between attempts to store a note."),
    )


@frozen(slots=True, kw_only=True)
class WritesSettings:
    """Carries out each write once, and finds its outcome when HOSP's response is lost."""

    LIVE: ClassVar = names("max_open")
    RESTART: ClassVar = names("enabled late_commit_s resubmit_window_s")

    enabled: bool = field(
        default=True,
        metadata=switch("Track writes in the ledger and look up those whose outcome is unknown."),
    )
    late_commit_s: float | None = field(
        default=None,
        metadata=number(
            "seconds",
            0,
            3600,
            "How long after the connection ended HOSP may still store a write whose response was lost."
            " Default: the contract's.",
        ),
    )
    max_open: int = field(
        default=1000,
        metadata=whole("writes", 1, 100_000, "Most writes with an open outcome; beyond it 503."),
    )
    resubmit_window_s: float = field(
        default=120.0,
        metadata=number(
            "seconds",
            0,
            3600,
            "How long an equal write counts as the retry of a write whose client got no response. 0: never.",
        ),
    )


@frozen(slots=True, kw_only=True)
class RetrySettings:
    """Retries failed requests to HOSP."""

    LIVE: ClassVar = names("enabled base_s cap_s max_attempts budget_ratio budget_min")
    RESTART: ClassVar = names("")

    enabled: bool = field(default=True, metadata=switch("Retry failed requests."))
    base_s: float = field(
        default=0.1, metadata=number("seconds", 0, 60, "Upper bound of the first random backoff.")
    )
    cap_s: float = field(default=2.0, metadata=number("seconds", 0, 600, "Upper bound of every backoff."))
    max_attempts: int = field(
        default=5, metadata=whole("attempts", 1, 100, "Attempts for one request, the first included.")
    )
    budget_ratio: float = field(
        default=0.2,
        metadata=number("retries per request", 0, 10, "Retries that each request adds to the retry budget."),
    )
    budget_min: int = field(
        default=50,
        metadata=whole("retries", 0, 1_000_000, "Retries that the retry budget holds at the start."),
    )


@frozen(slots=True, kw_only=True)
class Settings:
    """Keys that belong to no section."""

    LIVE: ClassVar = names("public_hosts trusted_proxies deadline_s drain_s publish_contract")
    RESTART: ClassVar = names(
        "state_dir master_key_file master_key_env master_key master_key_next_file "
        "master_key_previous_file contract_file workers"
    )

    state_dir: Path = field(
        default=Path("hospproxy-state"),
        converter=Path,
        metadata=path("State folder: everything the proxy keeps on disk. Also `--state`."),
    )
    master_key_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "File with the master key (32 bytes, mode 0600). Default: `state_dir`/master.key, created at"
            " the first start."
        ),
    )
    master_key_env: str | None = field(default=None, metadata=secret_fields.variable("master key"))
    master_key: secret_fields.SecretText | None = field(
        default=None,
        repr=False,
        metadata=secret_fields.text(
            "The master key itself (Base64, or 64 hexadecimal digits), instead of the file. The options"
            " file must then be private."
        ),
    )
    master_key_next_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "The next master key, during a rotation: opens what other workers and machines already sealed"
            " with it."
        ),
    )
    master_key_previous_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("The previous master key, during a rotation: still opens what was sealed with it."),
    )
    contract_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Contract document (OpenAPI 3.1, YAML). Default: the one that ships with the proxy."),
    )
    publish_contract: bool = field(
        default=False,
        metadata=switch("Serve clients the contract, to anybody: `/openapi.json`, `/openapi`."),
    )
    public_hosts: tuple[str, ...] = field(
        default=(), metadata=hosts("Values of `Host` that are served; empty: any.")
    )
    trusted_proxies: tuple[Network, ...] = field(
        default=(),
        metadata=networks(
            "Proxies in front whose `X-Forwarded-*` (or `Forwarded`) and `X-Request-Id` are trusted."
        ),
    )
    deadline_s: float = field(
        default=28.0,
        metadata=number(
            "seconds",
            0.1,
            600,
            "Deadline of a request: from its arrival to its response, all attempts included.",
        ),
    )
    drain_s: float = field(
        default=30.0,
        metadata=number("seconds", 0, 3600, "How long a stop waits for requests in flight (drain)."),
    )
    workers: int = field(
        default=1,
        metadata=whole(
            "processes", 1, 64, "Worker processes on the same ports. More than one needs `[redis]`."
        ),
    )
    listeners: tuple[ListenerSettings, ...] = (ListenerSettings(),)
    front: FrontSettings = Factory(FrontSettings)
    origin: OriginSettings = Factory(OriginSettings)
    cors: CorsSettings = Factory(CorsSettings)
    compression: CompressionSettings = Factory(CompressionSettings)
    upstream: UpstreamSettings
    arrival: ArrivalSettings = Factory(ArrivalSettings)
    admission: AdmissionSettings = Factory(AdmissionSettings)
    validation: ValidationSettings = ValidationSettings()
    identity: IdentitySettings = IdentitySettings()
    ownership: OwnershipSettings = OwnershipSettings()
    permissions: PermissionsSettings = Factory(PermissionsSettings)
    answers: AnswersSettings = Factory(AnswersSettings)
    screening: ScreeningSettings = ScreeningSettings()
    cache: CacheSettings = Factory(CacheSettings)
    copy: CopySettings = Factory(CopySettings)
    writes: WritesSettings = WritesSettings()
    retry: RetrySettings = RetrySettings()
    gate: GateSettings = Factory(GateSettings)
    breaker: BreakerSettings = Factory(BreakerSettings)
    redis: RedisSettings = Factory(RedisSettings)
    audit: AuditSettings = Factory(AuditSettings)
    audit_database: DatabaseSettings = Factory(DatabaseSettings)
    audit_syslog: SyslogSettings = Factory(SyslogSettings)
    audit_http: HttpSinkSettings = Factory(HttpSinkSettings)
    audit_bucket: BucketSettings = Factory(BucketSettings)
    audit_plugins: tuple[AuditPluginSettings, ...] = ()
    audit_page: AuditPageSettings = Factory(AuditPageSettings)
    access_log: AccessLogSettings = Factory(AccessLogSettings)
    access_log_bucket: AccessLogBucketSettings = Factory(AccessLogBucketSettings)
    alerts: AlertsSettings = Factory(AlertsSettings)
    admin: AdminSettings = Factory(AdminSettings)
    status: StatusSettings = Factory(StatusSettings)
    log: LogSettings = Factory(LogSettings)
    traces: TracesSettings = Factory(TracesSettings)

    @property
    def master_key_path(self) -> Path:
        """Path of the master key's file: the option, or its default in the state folder."""
        return self.master_key_file or self.state_dir / "master.key"

    @property
    def ledger_path(self) -> Path:
        """Path of the SQLite file that holds the ledger of writes."""
        return self.state_dir / "ledger" / "ledger.sqlite"

    @property
    def cache_path(self) -> Path:
        """Path of the cache entries that outlive a restart."""
        return self.state_dir / "cache" / "answers.sqlite"

    @property
    def copy_path(self) -> Path:
        """Folder of the copy of HOSP's records."""
        return self.state_dir / "copy"

    @property
    def audit_users_path(self) -> Path:
        """Path of the audit page's users file: the option, or its default in the state folder."""
        return self.audit_page.users_file or self.state_dir / "audit-users"

    @property
    def signing_key_default(self) -> Path:
        """Default path of the key that signs digests, if the options name none."""
        return self.state_dir / "audit-signing.key"

    @property
    def audit_path(self) -> Path:
        """Folder of the audit records: the option, or its default in the state folder."""
        return self.audit.directory or self.state_dir / "audit"

    @property
    def access_log_path(self) -> Path:
        """Folder of the access log: the option, or its default in the state folder."""
        return self.access_log.directory or self.state_dir / "access-log"
