"""Stations of the guard from the settings."""

from __future__ import annotations

import os
import secrets

from ..config import Settings
from ..interfaces import IMeter
from .entrance import Entrance
from .origin import OriginSecrets, read_secrets


def entrance_for(settings: Settings, meter: IMeter) -> Entrance | None:
    """The entrance; None if anybody may come by any way.

    :raise SecretError: a secret cannot be used.
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
