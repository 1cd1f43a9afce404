"""Build processors of the guard from the settings."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from ..config import Settings
from ..contract import Contract
from ..interfaces import Ask, IMeter
from ..memory.accounts import Accounts
from ..origin_secrets import OriginSecrets, read_secrets
from ..secrets import MasterKey
from ..sharing.kinds import Sharing
from .admission.claim_keys import Keys
from .admission.processor import Admission
from .admission.refusals import Refusals
from .knowledge import Knowledge
from .origin_check import Entrance
from .permissions import Permissions


def entrance_for(settings: Settings, meter: IMeter) -> Entrance | None:
    """Return the entrance; None if neither a secret nor HTTPS is required.

    :raise SecretError: a secret is not usable.
    """
    origin, https = settings.origin, settings.front.require_https
    if not origin.enabled and https == "off":
        return None

    def read() -> OriginSecrets:
        valid = read_secrets(origin.secret_files, origin.secret_variables, os.environ)
        return OriginSecrets.of(valid, secrets.token_bytes(32))

    return Entrance(
        origin.header.lower().encode(), read if origin.enabled else None, https, settings.public_hosts, meter
    )


def admission_for(
    settings: Settings,
    key: MasterKey,
    accounts: Accounts,
    refusals: Refusals,
    clock: IReactorTime,
    meter: IMeter,
    sharing: Sharing,
    workers: Callable[[], int],
) -> Admission:
    """Return the admission limits, by credentials and by address, over all workers.

    :param key: the master key.
    :param workers: how many processes share the limits, at least one.
    """
    keys = Keys(key.subkey("credentials"), key.subkey("guesses"))
    # Leave at least two thirds of the deadline for HOSP.
    delay_s = min(settings.admission.delay_s, settings.deadline_s / 3)
    return Admission(
        evolve(settings.admission, delay_s=delay_s), keys, accounts, refusals, clock, meter, sharing,
        workers, settings.redis.heartbeat_s,
    )  # fmt: skip


def permissions_for(
    settings: Settings,
    contract: Contract,
    knowledge: Knowledge,
    ask: Ask,
    meter: IMeter,
    certain: Callable[[], bool],
) -> Permissions:
    """Return the permission rules of the contract, with the modes from the options."""
    permissions = settings.permissions
    return Permissions(
        contract,
        knowledge,
        ask,
        meter,
        permissions.modes(contract),
        administrators=frozenset(permissions.administrators),
        remember_s=permissions.remember_s,
        certain=certain,
    )
