"""Reads a TOML file and flags into settings. It reports every error at once, each with its key path."""

from __future__ import annotations

import copy
import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import cattrs
from attrs import frozen
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn, override

from .fields import SPEC, BadValueError, OptionSpec, shown
from .listeners_section import CertificateSettings, ListenerSettings
from .plugins_section import AuditPluginSettings
from .sections import Settings

LISTED: Mapping[str, type[Any]] = {"listeners": ListenerSettings, "audit_plugins": AuditPluginSettings}
"""Sections that may appear several times."""
MOST_BYTES: Final = 1 << 20
"""Longest options file."""
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class ConfigError(Exception):
    """The options cannot be used; holds every error that was found, not only the first.

    :param problems: one line for each error; it starts with the key path, flag or file.
    :param paths: the key paths of the errors.
    :param rest: settings with defaults in place of the errors, so that the rest can be checked too; None if that is
        not possible.
    """

    def __init__(
        self, problems: tuple[str, ...], paths: tuple[str, ...] = (), rest: Settings | None = None
    ) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.paths = paths
        self.rest = rest


@frozen(slots=True)
class Overrides:
    """Values from flags, which override the file.

    :param listen: URLs that replace all listeners of the file.
    """

    upstream: str | None = None
    listen: tuple[str, ...] = ()
    state: str | None = None


NO_FLAGS = Overrides()


def load(file: Path | None, overrides: Overrides = NO_FLAGS) -> Settings:
    """Read the settings from a file (TOML 1.0) and flags.

    :raise ConfigError: lists everything that is wrong.
    """
    return structure({} if file is None else parsed(file, content_of(file)), overrides)


def structure(document: Mapping[str, Any], overrides: Overrides = NO_FLAGS) -> Settings:
    """Build the settings from a document as tomllib reads it, and flags.

    :raise ConfigError: lists everything that is wrong.
    """
    merged, flags = _merge(document, overrides)
    try:
        return _converter().structure(merged, Settings)
    except (ClassValidationError, BadValueError) as error:
        found = list(_problems(error, ""))
        paths = tuple(path for path, _ in found)
        lines = tuple(f"{flags.get(path, path)}: {words}" for path, words in found)
        raise ConfigError(lines, paths, _rest(merged, paths)) from None


def _rest(document: dict[str, Any], paths: tuple[str, ...]) -> Settings | None:
    """Build settings without the values at these paths; None if that fails too."""
    document = copy.deepcopy(document)
    for path in paths:
        _leave_out(document, [int(index) if index else name for index, name in _STEP.findall(path)])
    if isinstance(document.setdefault("upstream", {}), dict):
        document["upstream"].setdefault("url", "http://127.0.0.1:3000")
    try:
        return _converter().structure(document, Settings)
    except (ClassValidationError, BadValueError):
        return None


def _leave_out(document: dict[str, Any], steps: list[str | int]) -> None:
    """Remove the innermost key on the path to a value (for a member of a plain list, the key of the whole list)."""
    here: Any = document
    innermost: tuple[dict[str, Any], str] | None = None
    for step in steps:
        if isinstance(here, dict) and step in here:
            innermost = (here, str(step))
            here = here[step]
        elif isinstance(here, list) and isinstance(step, int):
            here = here[step]
        else:
            break
    if innermost is not None:
        del innermost[0][innermost[1]]


def content_of(file: Path) -> bytes:
    """Read an options file. Blocks.

    :raise ConfigError: it cannot be read, or is longer than ``MOST_BYTES``.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError((f"{file}: it cannot be read: {error.strerror}",)) from None
    if len(content) > MOST_BYTES:
        raise ConfigError((f"{file}: it is longer than {MOST_BYTES} bytes",))
    return content


def parsed(file: Path, content: bytes) -> dict[str, Any]:
    """Read the content of an options file as TOML.

    :param file: its name, for messages.
    :raise ConfigError: it is not TOML, or not UTF-8.
    """
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError((f"{file}: it is not UTF-8 (byte {error.start})",)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((f"{file}: it is not TOML: {error}",)) from None


def _merge(document: Mapping[str, Any], overrides: Overrides) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge the flags into the document; also return which flag set which key path."""
    merged = dict(document)
    flags: dict[str, str] = {}
    upstream = merged.setdefault("upstream", {})
    if overrides.upstream is not None and isinstance(upstream, dict):
        merged["upstream"] = {**upstream, "url": overrides.upstream}
        flags["upstream.url"] = "--upstream"
    if overrides.listen:
        merged["listeners"] = [{"url": url} for url in overrides.listen]
        flags.update({f"listeners[{index}].url": "--listen" for index in range(len(overrides.listen))})
    if overrides.state is not None:
        merged["state_dir"] = overrides.state
        flags["state_dir"] = "--state"
    merged.setdefault("state_dir", str(attrs.fields(Settings).state_dir.default))
    return merged, flags


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)

    def listed(name: str, cls: type[Any]) -> Callable[[Any, Any], tuple[Any, ...]]:
        def read(value: Any, _type: Any) -> tuple[Any, ...]:
            if not isinstance(value, list):
                raise BadValueError(f"expected [[{name}]] tables, got {shown(value)}")
            return tuple(converter.structure(value, list[cls]))  # type: ignore[valid-type]

        return read

    def section(cls: type[Any]) -> Callable[[Any, Any], Any]:
        hooks: dict[str, Any] = {
            each.name: override(struct_hook=_reader(each.metadata[SPEC]))
            for each in attrs.fields(cls)
            if SPEC in each.metadata
        }
        if cls is Settings:
            hooks.update({name: override(struct_hook=listed(name, each)) for name, each in LISTED.items()})
        elif cls is ListenerSettings:
            inner = listed("listeners.certificates", CertificateSettings)
            hooks["certificates"] = override(struct_hook=inner)
        made = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **hooks)

        def read(value: Any, type_: Any) -> Any:
            if not isinstance(value, Mapping):
                raise BadValueError(f"expected a table, got {shown(value)}")
            return made(value, type_)

        return read

    converter.register_structure_hook_factory(attrs.has, section)
    return converter


def _reader(spec: OptionSpec) -> Callable[[Any, Any], Any]:
    return lambda value, _type: spec.read(value)


def _problems(error: BaseException, path: str) -> Iterator[tuple[str, str]]:
    """Flatten cattrs' tree of errors into key paths and messages."""
    match error:
        case ClassValidationError() | IterableValidationError():
            with_notes, others = error.group_exceptions()
            for each, note in with_notes:
                if isinstance(note, AttributeValidationNote):
                    yield from _problems(each, f"{path}.{note.name}" if path else note.name)
                else:
                    yield from _problems(each, f"{path}[{note.index}]")
            for each in others:
                yield from _problems(each, path)
        case ForbiddenExtraKeysError():
            for key in sorted(error.extra_fields):
                yield (f"{path}.{key}" if path else key), f"unknown key{_nearest(error.cl, key)}"
        case BadValueError():
            yield path + error.path, error.words
        case KeyError():
            yield path, "it is required" + (" (or give --upstream)" if path == "upstream.url" else "")
        case _:
            raise error


def _nearest(cls: type[Any], key: str) -> str:
    """Suggest the key that was probably meant: a similar one in this section, or the same one in another section."""
    near = difflib.get_close_matches(key, [each.name for each in attrs.fields(cls)], 1, 0.6)
    if near:
        return f"; did you mean {near[0]}?"
    elsewhere = [path for path, _ in known_keys() if path.rpartition(".")[2] == key]
    return f"; did you mean {' or '.join(elsewhere)}?" if 0 < len(elsewhere) < 4 else ""


def known_keys() -> Iterator[tuple[str, attrs.Attribute[Any]]]:
    """Iterate over every key path with its field, in the order of the classes; a listener's is ``listeners.url``."""
    for name, cls in sections():
        for each in attrs.fields(cls):
            if SPEC in each.metadata:
                yield (f"{name}.{each.name}" if name else each.name), each


def sections() -> Iterator[tuple[str, type[Any]]]:
    """Iterate over every section's name ("" for the top of the file) and class."""
    yield "", Settings
    yield from LISTED.items()
    yield "listeners.certificates", CertificateSettings
    for each in attrs.fields(attrs.resolve_types(Settings)):
        if each.type is not None and attrs.has(each.type):
            yield each.name, each.type
