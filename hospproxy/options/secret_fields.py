"""The keys of secrets in the options: each comes from a file, from an environment variable, or from the options file.

A section has three keys for each secret: ``NAME_file``, ``NAME_env`` and ``NAME``. At most one of them may be given.
``secret_values.py`` reads the values. A secret from the environment or the options file is kept in a ``SecretText``,
whose ``repr`` and ``str`` do not show it.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import field, frozen

from .fields import SPEC, BadValueError, Metadata, OptionSpec

MOST = 4096
"""Bytes of a secret."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@frozen(slots=True)
class SecretText:
    """A secret. Neither a message nor a traceback shows it.

    :param value: the secret itself.
    """

    value: bytes = field(repr=False)

    def __str__(self) -> str:
        return "Text()"


def text(doc: str) -> Metadata:
    """The secret itself, in the options file; no message ever shows it."""
    takes = "a text"

    def read(value: Any) -> SecretText:
        if not isinstance(value, str) or not value.strip() or len(value.encode("utf-8", "replace")) > MOST:
            raise BadValueError(f"expected a text of 1 to {MOST} bytes")
        return SecretText(value.encode("utf-8"))

    return {SPEC: OptionSpec(doc, takes, "", read)}


def variable(what: str) -> Metadata:
    """The name of a variable of the environment.

    :param what: the secret that it holds.
    """
    doc = f"Environment variable that holds the {what}, instead of the file."
    takes = "the name of a variable"

    def read(value: Any) -> str:
        # A value that is not a name may be the secret itself, put here by mistake.
        if not isinstance(value, str) or _NAME.fullmatch(value) is None:
            raise BadValueError(f"expected {takes} of the environment, not its value")
        return value

    return {SPEC: OptionSpec(doc, takes, "", read)}


def text_of(what: str) -> Metadata:
    """The secret itself, as an alternative to a file.

    :param what: the secret.
    """
    return text(f"The {what} itself, instead of a file. The options file must then be private.")
