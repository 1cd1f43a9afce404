"""The settings: one frozen class a section, every key with its unit, bounds and sentence.

Bounds hold for what is read from a file or a flag; a test may build any settings it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import Factory, field, frozen
from attrs.converters import optional

from . import secret_fields
from .addresses import Address, parse_address
from .admin_section import AdminSettings
from .admission_section import AdmissionSettings
from .alerts_section import AlertsSettings
from .answers_section import AnswersSettings
from .arrival_section import ArrivalSettings
from .audit_section import AuditSettings
from .bucket_section import BucketSettings
from .database_section import DatabaseSettings
from .fields import Network, address, choice, hosts, networks, number, path, seconds_by_name, switch, whole
from .front_section import FrontSettings, OriginSettings
from .gate_section import BreakerSettings, GateSettings
from .http_section import HttpWriterSettings
from .listeners_section import ListenerSettings
from .page_section import AuditPageSettings
from .permissions_section import PermissionsSettings
from .plugins_section import AuditPluginSettings
from .redis_section import RedisSettings
from .syslog_section import SyslogSettings

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
_ENFORCE = "`report` lets pass what breaks the rule and only records it; `enforce` refuses it."


@frozen(slots=True, kw_only=True)
class UpstreamSettings:
    """HOSP."""

    url: str = field(metadata=address("Where HOSP is. Required, here or by `--upstream`.", "http", "https"))
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Certificates (PEM) to trust for an `https://` upstream instead of the system's."),
    )
    connect_timeout_s: float = field(
        default=3.0, metadata=number("seconds", 0.05, 60, "How long a connection to HOSP may take to open.")
    )
    max_header_bytes: int = field(
        default=64 * KiB, metadata=whole("bytes", KiB, MiB, "The longest head of an answer that is taken.")
    )
    max_body_bytes: int = field(
        default=16 * MiB, metadata=whole("bytes", KiB, GiB, "The longest body of an answer that is taken.")
    )
    idle_connection_s: float = field(
        default=30.0,
        metadata=number("seconds", 0, 3600, "How long an unused connection to HOSP is kept open."),
    )

    @property
    def address(self) -> Address:
        return parse_address(self.url)


@frozen(slots=True, kw_only=True)
class ValidationSettings:
    """Requests are held against the contract."""

    enabled: bool = field(default=True, metadata=switch("Whether bodies and parameters are validated."))
    mode: str = field(default="enforce", metadata=choice(_ENFORCE, "enforce", "report"))


@frozen(slots=True, kw_only=True)
class IdentitySettings:
    """Who is calling, as HOSP itself says."""

    enabled: bool = field(default=True, metadata=switch("Whether the proxy finds out who is calling."))
    remember_s: float = field(
        default=300.0,
        metadata=number("seconds", 0, 86400, "How long credentials that HOSP has accepted are believed."),
    )
    offline_grace_s: float = field(
        default=43200.0,
        metadata=number(
            "seconds",
            0,
            7 * 86400,
            "While HOSP cannot be asked: how long those whom it accepted may read what is kept. 0: never.",
        ),
    )
    max_remembered: int = field(
        default=10000,
        metadata=whole("credentials", 1, 1_000_000, "Credentials that are remembered at one time."),
    )


@frozen(slots=True, kw_only=True)
class OwnershipSettings:
    """Notes carry the name of the member of staff who wrote them."""

    enabled: bool = field(default=True, metadata=switch("Whether authors are checked. Needs identity."))
    policy: str = field(
        default="assign",
        metadata=choice(
            "Set the author to whoever is calling, or refuse another's name.", "assign", "refuse"
        ),
    )
    mode: str = field(default="enforce", metadata=choice(_ENFORCE, "enforce", "report"))


@frozen(slots=True, kw_only=True)
class ScreeningSettings:
    """Screening results become notes."""

    enabled: bool = field(
        default=True, metadata=switch("Whether results become notes. Needs identity and writes.")
    )
    max_pending: int = field(
        default=1000,
        metadata=whole(
            "notes", 1, 100_000, "Notes of results on their way at one time; a long result is several."
        ),
    )
    retry_base_s: float = field(
        default=2.0,
        metadata=number("seconds", 0.01, 600, "The first pause before another try to deliver a note."),
    )
    retry_cap_s: float = field(
        default=60.0,
        metadata=number("seconds", 0.01, 86400, "The longest pause between tries to deliver a note."),
    )


@frozen(slots=True, kw_only=True)
class CacheSettings:
    """Answers kept in memory, for each credential its own."""

    enabled: bool = field(default=True, metadata=switch("Whether answers are kept. Needs identity."))
    max_bytes: int = field(
        default=64 * MiB, metadata=whole("bytes", 64 * KiB, 64 * GiB, "Memory for all answers together.")
    )
    max_entry_bytes: int = field(
        default=4 * MiB, metadata=whole("bytes", KiB, GiB, "The longest answer that is kept.")
    )
    disk_max_bytes: int = field(
        default=256 * MiB,
        metadata=whole(
            "bytes",
            0,
            1024 * GiB,
            "Disk for answers that outlive a restart, encrypted. 0: none is kept on it.",
        ),
    )
    lifetimes: Mapping[str, float] = field(
        factory=dict,
        metadata=seconds_by_name(
            0, 86400, "How long an answer serves, by the contract's operationId, instead of its."
        ),
    )


@frozen(slots=True, kw_only=True)
class WritesSettings:
    """The one fate of each write."""

    enabled: bool = field(default=True, metadata=switch("Whether uncertain writes are looked up."))
    late_commit_s: float | None = field(
        default=None,
        metadata=number(
            "seconds", 0, 3600, "How late HOSP may still store a lost write. Default: the contract's."
        ),
    )
    max_open: int = field(
        default=1000,
        metadata=whole("writes", 1, 100_000, "Writes whose outcome is open at one time; beyond it 503."),
    )
    resubmit_window_s: float = field(
        default=120.0,
        metadata=number(
            "seconds",
            0,
            3600,
            "How long an equal write is the retry of one whose client got no answer. 0: never.",
        ),
    )


@frozen(slots=True, kw_only=True)
class RetrySettings:
    """What is repeated, and how often."""

    enabled: bool = field(default=True, metadata=switch("Whether failed requests are repeated."))
    base_s: float = field(
        default=0.1, metadata=number("seconds", 0, 60, "Upper bound of the first random pause.")
    )
    cap_s: float = field(default=2.0, metadata=number("seconds", 0, 600, "Upper bound of any pause."))
    max_attempts: int = field(
        default=5, metadata=whole("attempts", 1, 100, "Times that one request is sent, the first included.")
    )
    budget_ratio: float = field(
        default=0.2,
        metadata=number("repeats per request", 0, 10, "Repeats that each request adds to the budget."),
    )
    budget_min: int = field(
        default=50,
        metadata=whole("repeats", 0, 1_000_000, "Repeats that the budget holds from the beginning."),
    )


@frozen(slots=True, kw_only=True)
class Settings:
    """Everything that an operator may set."""

    state_dir: Path = field(
        default=Path("hospproxy-state"),
        converter=Path,
        metadata=path("All that the proxy keeps. Also `--state`."),
    )
    master_key_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "The master key (32 bytes, mode 0600). Default: `state_dir`/master.key, made at the first start."
        ),
    )
    master_key_env: str | None = field(
        default=None,
        metadata=secret_fields.variable("Variable of the environment that holds it, instead of the file."),
    )
    master_key: secret_fields.Text | None = field(
        default=None,
        repr=False,
        metadata=secret_fields.text("Base64, or 64 hexadecimal digits, instead of the file."),
    )
    master_key_next_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("A key that will be the master key: what others have sealed with it can be opened."),
    )
    master_key_previous_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("The one that was it before: what was sealed with it can still be opened."),
    )
    contract_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "Another contract document (OpenAPI 3.1, YAML) than the one that comes with the proxy."
        ),
    )
    public_hosts: tuple[str, ...] = field(
        default=(), metadata=hosts("Hosts that are served, as clients name them; empty: any.")
    )
    trusted_proxies: tuple[Network, ...] = field(
        default=(),
        metadata=networks(
            "Proxies in front whose `X-Forwarded-*` (or `Forwarded`) and `X-Request-Id` are believed."
        ),
    )
    deadline_s: float = field(
        default=28.0,
        metadata=number("seconds", 0.1, 600, "From a request's arrival to its answer, all tries included."),
    )
    drain_s: float = field(
        default=30.0,
        metadata=number("seconds", 0, 3600, "How long a stop waits for answers that are under way."),
    )
    workers: int = field(
        default=1,
        metadata=whole("processes", 1, 64, "Processes on the same ports. More than one needs `[redis]`."),
    )
    listeners: tuple[ListenerSettings, ...] = (ListenerSettings(),)
    front: FrontSettings = Factory(FrontSettings)
    origin: OriginSettings = Factory(OriginSettings)
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
    writes: WritesSettings = WritesSettings()
    retry: RetrySettings = RetrySettings()
    gate: GateSettings = Factory(GateSettings)
    breaker: BreakerSettings = Factory(BreakerSettings)
    redis: RedisSettings = Factory(RedisSettings)
    audit: AuditSettings = Factory(AuditSettings)
    audit_database: DatabaseSettings = Factory(DatabaseSettings)
    audit_syslog: SyslogSettings = Factory(SyslogSettings)
    audit_http: HttpWriterSettings = Factory(HttpWriterSettings)
    audit_bucket: BucketSettings = Factory(BucketSettings)
    audit_plugins: tuple[AuditPluginSettings, ...] = ()
    audit_page: AuditPageSettings = Factory(AuditPageSettings)
    alerts: AlertsSettings = Factory(AlertsSettings)
    admin: AdminSettings = Factory(AdminSettings)

    @property
    def master_key_path(self) -> Path:
        """The master key's file, named or not."""
        return self.master_key_file or self.state_dir / "master.key"

    @property
    def ledger_path(self) -> Path:
        """The ledger's file."""
        return self.state_dir / "ledger" / "ledger.sqlite"

    @property
    def cache_path(self) -> Path:
        """The file of answers that outlive a restart."""
        return self.state_dir / "cache" / "answers.sqlite"

    @property
    def audit_users_path(self) -> Path:
        """Who may look at the audit page, named or not."""
        return self.audit_page.users_file or self.state_dir / "audit-users"

    @property
    def signing_key_default(self) -> Path:
        """Where the key that signs digests is, unless it is named."""
        return self.state_dir / "audit-signing.key"

    @property
    def audit_path(self) -> Path:
        """The folder of the records, named or not."""
        return self.audit.directory or self.state_dir / "audit"
