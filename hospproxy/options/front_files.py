"""Checks the secrets of [origin], and the tokens of [admin]."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..keys.origin_secrets import SecretError, secret_of_file, secret_of_variable
from .sections import Settings

Finding = tuple[str, str]


def errors(settings: Settings) -> Iterator[Finding]:
    """Find secrets that cannot be used."""
    section = settings.origin
    for index, file in enumerate(section.secret_files):
        try:
            secret_of_file(file)
        except SecretError as error:
            yield f"origin.secret_files[{index}]", str(error)
    for index, name in enumerate(section.secret_variables):
        try:
            secret_of_variable(name, os.environ)
        except SecretError as error:
            yield f"origin.secret_variables[{index}]", str(error)
    for index, file in enumerate(settings.admin.scrape_token_files if settings.admin.enabled else ()):
        try:
            secret_of_file(file)
        except SecretError as error:
            yield f"admin.scrape_token_files[{index}]", str(error)
