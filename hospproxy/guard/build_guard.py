"""Build processors of the guard from the settings."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

from attrs import evolve

from ..config import Settings
from ..foundations import Foundations
from ..http.messages import Identity
from ..interfaces import IMeter
from ..keys.origin_secrets import OriginSecrets, read_secrets
from ..memory.accounts import Accounts
from ..options.admission_section import AdmissionSettings
from .admission.claim_keys import ClaimKeys
from .admission.processor import Admission
from .admission.refusals import RefusalCache
from .identity import IdentityCheck
from .knowledge import Knowledge, watched
from .origin_check import OriginCheck
from .permissions import Permissions


def entrance_for(settings: Settings, meter: IMeter) -> OriginCheck | None:
    """Return the entrance; None if neither a secret nor HTTPS is required.

    :raise SecretError: a secret is not usable.
    """
    origin, https = settings.origin, settings.front.require_https
    if not origin.enabled and https == "off":
        return None

    def read() -> OriginSecrets:
        valid = read_secrets(origin.secret_files, origin.secret_variables, os.environ)
        return OriginSecrets.of(valid, secrets.token_bytes(32))

    return OriginCheck(
        origin.header.lower().encode(), read if origin.enabled else None, https, settings.public_hosts, meter
    )


def refusals_for(base: Foundations) -> RefusalCache:
    """Return the memory of credentials that HOSP has refused a moment ago."""
    most = base.settings.admission.max_remembered
    return RefusalCache(base.reactor, kept_refusals_s(base.settings), most, base.late_commit_s, base.certain)


def kept_refusals_s(settings: Settings) -> float:
    """Return the seconds for which a refusal by HOSP is remembered."""
    return settings.admission.refusal_s if settings.admission.enabled else 0.0


def knowledge_of(base: Foundations) -> Knowledge:
    """Return the memory of the fields that permission rules compare."""
    permissions, contract = base.settings.permissions, base.contract
    watch = watched(contract, contract.permissions) if permissions.enabled else {}
    return Knowledge(contract, watch, base.reactor, permissions.max_remembered)


def identity_for(
    base: Foundations,
    accounts: Accounts,
    refusals: RefusalCache,
    accepted: Callable[[Identity, bytes | None], None],
) -> IdentityCheck | None:
    """Return the identity check; None if it is switched off.

    :param accepted: called with the identity and the canonical credentials whenever HOSP has accepted them.
    """
    if not base.settings.identity.enabled:
        return None
    return IdentityCheck(
        base.contract,
        accounts,
        base.own_requests.ask,
        base.key.subkey("credentials"),
        base.metrics,
        accepted,
        refusals,
        base.certain,
    )


def admission_for(
    base: Foundations, accounts: Accounts, refusals: RefusalCache, workers: Callable[[], int]
) -> Admission:
    """Return the admission limits, by credentials and by address, over all workers.

    :param workers: how many processes share the limits, at least one.
    """
    return Admission(
        admission_limits(base.settings),
        ClaimKeys(base.key.subkey("credentials"), base.key.subkey("guesses")),
        accounts,
        refusals,
        base.reactor,
        base.metrics,
        base.sharing,
        workers,
        heartbeat_s=base.settings.redis.heartbeat_s,
    )


def admission_limits(settings: Settings) -> AdmissionSettings:
    """Return the limits, with delays that leave at least two thirds of the deadline for HOSP."""
    delay_s = min(settings.admission.delay_s, settings.deadline_s / 3)
    return evolve(settings.admission, delay_s=delay_s)


def permissions_for(base: Foundations, settings: Settings, knowledge: Knowledge) -> Permissions:
    """Return the permission rules of the contract, with the modes from the options.

    :param settings: those in force, which a reload may have changed since ``base`` was built.
    """
    permissions = settings.permissions
    return Permissions(
        base.contract,
        knowledge,
        base.own_requests.ask,
        base.metrics,
        permissions.modes(base.contract),
        administrators=frozenset(permissions.administrators),
        remember_s=permissions.remember_s,
        certain=base.certain,
    )
