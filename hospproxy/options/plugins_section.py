"""The section [[audit_plugins]]; sections.py has the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, field, frozen

from .fields import label, table


@frozen(slots=True, kw_only=True)
class AuditPluginSettings:
    """The trail to a writer of your own. `[[audit_plugins]]` may stand several times."""

    name: str = field(metadata=label("Names it in metrics and in its saved position. Required."))
    kind: str = field(metadata=label("Which plugin makes it. Required."))
    options: Mapping[str, Any] = field(
        default=Factory(dict), metadata=table("What the plugin is told; its own documentation says what.")
    )
