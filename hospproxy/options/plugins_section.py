"""The section [[audit_plugins]]; sections.py has the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import Factory, field, frozen

from .fields import label, names, table


@frozen(slots=True, kw_only=True)
class AuditPluginSettings:
    """Audit sink of your own, from a plugin. `[[audit_plugins]]` may be repeated."""

    LIVE: ClassVar = names("name kind options")
    RESTART: ClassVar = names("")

    name: str = field(
        metadata=label("Name of the sink in metrics and in the file with its saved position. Required.")
    )
    kind: str = field(metadata=label("Kind of the plugin that provides it. Required."))
    options: Mapping[str, Any] = field(
        default=Factory(dict), metadata=table("Options for the plugin; see its own documentation.")
    )
