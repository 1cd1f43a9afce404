"""Check the settings as a whole: combinations that make no sense (errors) and risky ones (warnings).

The rules are pure: settings in, findings out. Checks that read files are in hospproxy/options/files.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from attrs import frozen

from .arrival.front import option_checks as front_options
from .config import (
    Address,
    AdminSettings,
    ConfigError,
    ListenerSettings,
    Settings,
    structure,
)
from .options import (
    admin_checks,
    compression_checks,
    contract_checks,
    secret_values,
    sharing_checks,
    sink_checks,
)
from .options.fields import WORKING_FOLDER
from .options.source import OptionsSource, SecretEnvironment

if TYPE_CHECKING:
    from .contract.contract import Contract

GRACE_S = 43200.0
"""Length of a shift in seconds: users who were at work when HOSP went away can read on."""
Finding = tuple[str, str]
"""Key path and text."""


@frozen(slots=True)
class Findings:
    """The results of a check, one line each; a line begins with its key path.

    :param errors: the proxy must not start.
    :param warnings: the proxy may start, but an operator should know.
    """

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def load_and_check(
    source: OptionsSource, environment: SecretEnvironment | None = None
) -> tuple[Settings, tuple[str, ...]]:
    """Return checked settings and the warnings. Blocks: it reads the files that the options name.

    :param environment: holds secrets; None: that of this process.
    :raise ConfigError: with everything that is wrong, single keys and combinations alike.
    """
    file, token = source.file, WORKING_FOLDER.set(source.folder)
    try:
        settings = structure(source.document, source.flags)
    except ConfigError as error:
        raise ConfigError((*error.problems, *_further(error)), error.paths) from None
    finally:
        WORKING_FOLDER.reset(token)
    errors = list(secret_values.file_errors(file, list(secret_values.written(settings)))) if file else []
    settings, wrong = secret_values.taken(settings, environment or SecretEnvironment())
    findings = check(settings)
    if errors or wrong or findings.errors:
        raise ConfigError((*_lines([*errors, *wrong]), *findings.errors))
    return settings, (*(secret_values.file_warnings(file) if file else ()), *findings.warnings)


def _further(error: ConfigError) -> Iterator[str]:
    """Yield further errors, except those about a default that only replaces a wrong value."""
    if error.rest is None:
        return
    for line in check(error.rest).errors:
        if not any(re.search(rf"(?<![\w.]){re.escape(path)}(?!\w)", line) for path in error.paths):
            yield line


def check(settings: Settings) -> Findings:
    """Find everything that can be found without binding ports or creating files.

    Reads the files that the settings name.
    """
    from .arrival.tls import option_files as tls_files
    from .options import files, front_files, sharing_files, sink_files

    errors = [
        *_all(ERRORS, settings),
        *files.errors(settings),
        *front_files.errors(settings),
        *sharing_files.errors(settings),
        *tls_files.errors(settings),
        *sink_files.errors(settings),
    ]
    warnings = [
        *_all(WARNINGS, settings),
        *files.warnings(settings),
        *sharing_files.warnings(settings),
        *tls_files.warnings(settings),
    ]
    contract, mistakes = files.contract(settings.contract_file)
    errors += mistakes
    if contract is not None:
        errors += [*against_contract(settings, contract), *compression_checks.unknown(settings, contract)]
        warnings += contract_checks.warnings(settings, contract)
        warnings += compression_checks.warnings(settings, contract)
    return Findings(_lines(errors), _lines(warnings))


def _lines(findings: list[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{path}: {words}" for path, words in findings))


def _all(rules: tuple[Rule, ...], settings: Settings) -> Iterator[Finding]:
    for rule in rules:
        yield from rule(settings)


# Errors


def needs(settings: Settings) -> Iterator[Finding]:
    """Parts that need another part which is switched off."""
    if settings.ownership.enabled and not settings.identity.enabled:
        yield "ownership.enabled", "ownership needs identity, which is switched off (identity.enabled)"
    if settings.permissions.enabled and settings.permissions.rules and not settings.identity.enabled:
        yield "permissions.enabled", "rules need identity, which is switched off (identity.enabled)"
    if settings.screening.enabled and not settings.identity.enabled:
        yield "screening.enabled", "its notes need identity, which is switched off (identity.enabled)"
    if settings.screening.enabled and not settings.writes.enabled:
        yield "screening.enabled", "its notes need writes, which are switched off (writes.enabled)"


def places(settings: Settings) -> Iterator[Finding]:
    """Addresses that cannot be bound."""
    bound = [(f"listeners[{index}].url", each.address) for index, each in enumerate(settings.listeners)]
    if not bound:
        yield "listeners", "there must be at least one listener"
    if settings.admin.enabled:
        bound.append(("admin.url", settings.admin.address))
    for path, address in bound:
        if address.ip is None:
            yield path, f"{address.host!r} is neither localhost nor an IP address"
    for (first, one), (second, other) in combinations(bound, 2):
        if _clash(one, other):
            yield second, f"port {other.port} is taken by {first} already"
    upstream = settings.upstream.address
    if upstream.port == 0:
        yield "upstream.url", "it needs a port"
    for path, address in bound:
        if upstream.loopback and _clash(address, upstream):
            yield "upstream.url", f"it is the proxy itself ({path})"


def _clash(one: Address, other: Address) -> bool:
    if one.port != other.port or one.port == 0 or one.ip is None or other.ip is None:
        return False
    if one.ip == other.ip:
        return True
    # Linux: [::] takes IPv4 too.
    wide, narrow = (one.ip, other.ip) if one.ip.is_unspecified else (other.ip, one.ip)
    return wide.is_unspecified and (wide.version == narrow.version or wide.version == 6)


def certificates(settings: Settings) -> Iterator[Finding]:
    """TLS keys of a listener that do not fit together."""
    for index, each in enumerate(settings.listeners):
        path = f"listeners[{index}]"
        if each.address.secure and each.plain != "reject":
            yield f"{path}.plain", "it is for http:// listeners only"
        yield from _pair(path, each)
        yield from _tls_of(path, each)
    if settings.admin.enabled:
        yield from _pair("admin", settings.admin)
    if settings.upstream.ca_file and not settings.upstream.address.secure:
        yield "upstream.ca_file", "it is only for an https:// upstream.url"


def _pair(path: str, each: ListenerSettings | AdminSettings) -> Iterator[Finding]:
    if not each.address.secure:
        if each.certificate_file or each.private_key_file:
            named = "certificate_file" if each.certificate_file else "private_key_file"
            yield f"{path}.{named}", "it is for https:// listeners only"
    elif each.certificate_file and not each.private_key_file:
        yield f"{path}.private_key_file", "it is required with certificate_file"
    elif each.private_key_file and not each.certificate_file:
        yield f"{path}.certificate_file", "it is required with private_key_file"


def _tls_of(path: str, each: ListenerSettings) -> Iterator[Finding]:
    """Further certificates of a listener, and its other options for TLS only."""
    if not each.address.secure:
        for key in ("certificates", "client_ca_file", "hsts_s"):
            if getattr(each, key):
                yield f"{path}.{key}", "it is for https:// listeners only"
        if each.client_certificates != "off":
            yield f"{path}.client_certificates", "it is for https:// listeners only"
        return
    for index, pair in enumerate(each.certificates):
        for key in ("certificate_file", "private_key_file"):
            if getattr(pair, key) is None:
                yield f"{path}.certificates[{index}].{key}", "it is required"
    if each.client_certificates != "off" and each.client_ca_file is None:
        yield f"{path}.client_ca_file", f'client_certificates = "{each.client_certificates}" needs it'
    if each.client_certificates == "off" and each.client_ca_file is not None:
        yield f"{path}.client_certificates", 'it is "off", so client_ca_file has no effect'


def numbers(settings: Settings) -> Iterator[Finding]:
    """Numbers that contradict each other."""
    s = settings
    if s.retry.enabled and s.retry.cap_s < s.retry.base_s:
        yield "retry.cap_s", f"it is less than retry.base_s ({s.retry.base_s:g})"
    if s.retry.enabled and s.retry.budget_ratio == 0 and s.retry.budget_min == 0:
        yield "retry.budget_min", "with budget_ratio = 0 nothing is ever retried; set retry.enabled = false"
    if s.retry.enabled and s.retry.max_attempts == 1:
        yield "retry.max_attempts", "with one attempt nothing is ever retried; set retry.enabled = false"
    if s.screening.retry_cap_s < s.screening.retry_base_s:
        yield (
            "screening.retry_cap_s",
            f"it is less than screening.retry_base_s ({s.screening.retry_base_s:g})",
        )
    if s.cache.max_entry_bytes > s.cache.max_bytes:
        yield "cache.max_entry_bytes", f"it is more than cache.max_bytes ({s.cache.max_bytes})"
    if s.arrival.max_target_bytes > s.arrival.max_head_bytes:
        yield (
            "arrival.max_target_bytes",
            f"it is more than arrival.max_head_bytes ({s.arrival.max_head_bytes})",
        )
    if s.upstream.connect_timeout_s >= s.deadline_s:
        yield "upstream.connect_timeout_s", f"it is not less than deadline_s ({s.deadline_s:g})"


def against_contract(settings: Settings, contract: Contract) -> Iterator[Finding]:
    """Settings that the contract does not support."""
    if settings.identity.enabled and contract.identity is None:
        yield "identity.enabled", "the contract has no x-hospproxy.identity, which identity needs"
    for name in settings.cache.lifetimes:
        operation = contract.operations.get(name)
        if operation is None:
            known = ", ".join(sorted(each.id for each in contract.operations.values() if each.is_read))
            yield f"cache.lifetimes.{name}", f"the contract has no such operation; it has {known}"
        elif not operation.is_read:
            yield f"cache.lifetimes.{name}", "it is not a read, so it cannot be cached"
    names = [rule.name for rule in contract.permissions]
    for name in settings.permissions.rules:
        if name not in names:
            yield (
                f"permissions.rules.{name}",
                f"the contract has no such rule; it has {', '.join(names) or 'none'}",
            )
    if settings.cache.enabled and not settings.identity.enabled:
        private = [each.id for each in contract.operations.values() if _kept(settings, each.id, each.cache_s)]
        private = [name for name in private if not contract.operations[name].public]
        if private:
            yield "cache.enabled", f"without identity {private[0]} may not be cached: it is not public"
    longest = max((each.max_body_bytes for each in contract.operations.values()), default=0)
    if settings.arrival.body_memory_bytes < longest:
        yield (
            "arrival.body_memory_bytes",
            f"the contract allows a body of {longest} bytes, which would never fit; raise this limit",
        )


def _kept(settings: Settings, name: str, lifetime_s: float) -> bool:
    return settings.cache.lifetimes.get(name, lifetime_s) > 0


# Warnings


def open_text(settings: Settings) -> Iterator[Finding]:
    """Where passwords cross a network unencrypted."""
    upstream = settings.upstream.address
    if not upstream.secure and not upstream.loopback:
        yield "upstream.url", f"passwords and patients' data go to {upstream.host} unencrypted"
    for index, each in enumerate(settings.listeners):
        path = f"listeners[{index}]"
        if each.address.secure:
            continue
        if each.plain == "serve":
            yield f"{path}.plain", "clients are served unencrypted"
        if each.address.ip is not None and each.address.ip.is_unspecified:
            yield f"{path}.url", "an unencrypted port on every interface: clients may send passwords to it"
    if any(each.hsts_s for each in settings.listeners) and any(
        each.plain == "serve" and not each.address.secure for each in settings.listeners
    ):
        yield (
            "listeners",
            "hsts_s makes browsers avoid the plain listener too: HSTS covers every port of a host",
        )
    if settings.listeners and all(not each.address.secure for each in settings.listeners):
        if all(each.plain == "reject" for each in settings.listeners):
            yield "listeners", "all of them reject every request; add an https:// listener"
        elif all(each.plain != "serve" for each in settings.listeners):
            yield "listeners", "clients are redirected to https://, but no listener serves it"


def trust(settings: Settings) -> Iterator[Finding]:
    """Trusted networks that are too wide."""
    for index, network in enumerate(settings.trusted_proxies):
        if network.prefixlen < (8 if network.version == 4 else 16):
            yield (
                f"trusted_proxies[{index}]",
                f"{network} is very wide: almost any client can forge the address in its audit records",
            )


def switched_off(settings: Settings) -> Iterator[Finding]:
    """Protection that is switched off."""
    said = (
        (settings.audit.enabled, "audit.enabled", "nothing is recorded"),
        (settings.identity.enabled, "identity.enabled", "no identity in the audit records is verified"),
        (settings.ownership.enabled, "ownership.enabled", "notes can be written in another person's name"),
        (settings.validation.enabled, "validation.enabled", "requests to HOSP are not validated"),
        (settings.writes.enabled, "writes.enabled", "a write whose response is lost is not looked up"),
        (settings.admission.enabled, "admission.enabled", "passwords can be guessed as fast as HOSP answers"),
        (settings.gate.enabled, "gate.enabled", "nothing protects HOSP from a surge"),
        (settings.breaker.enabled, "breaker.enabled", "while HOSP is away every request waits for it"),
    )
    for enabled, path, words in said:
        if not enabled:
            yield path, words
    if settings.validation.enabled and settings.validation.mode == "report":
        yield "validation.mode", "requests that violate the contract are recorded, not refused"
    if settings.ownership.enabled and settings.ownership.mode == "report":
        yield "ownership.mode", "notes in another person's name are recorded, not corrected or refused"


def times(settings: Settings) -> Iterator[Finding]:
    """Times that contradict each other, or the load balancer in front."""
    if settings.deadline_s >= 30:
        yield (
            "deadline_s",
            "load balancers often give up after 30 s: users would see their error, not the proxy's response",
        )
    if settings.drain_s < settings.deadline_s:
        yield "drain_s", f"it is less than deadline_s ({settings.deadline_s:g}): a stop may abort requests"
    hours = settings.identity.offline_grace_s / 3600
    if settings.identity.enabled and settings.identity.offline_grace_s > GRACE_S:
        yield (
            "identity.offline_grace_s",
            f"while HOSP is away, a user whose account was removed can read cached responses for {hours:g} h",
        )
    if settings.arrival.keep_alive_s <= 60:
        yield "arrival.keep_alive_s", "load balancers reuse connections for 60 s: their users would see 502s"


Rule = Callable[[Settings], Iterator[Finding]]
ERRORS: tuple[Rule, ...] = (
    needs,
    places,
    admin_checks.place,
    admin_checks.access,
    certificates,
    numbers,
    compression_checks.errors,
    front_options.errors,
    sharing_checks.errors,
    *sink_checks.ERRORS,
)
WARNINGS: tuple[Rule, ...] = (
    open_text,
    admin_checks.warnings,
    trust,
    switched_off,
    times,
    front_options.warnings,
    sharing_checks.warnings,
    *sink_checks.WARNINGS,
)
