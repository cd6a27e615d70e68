"""Hashes and commits that declarations lack, looked up once and kept in a file of the user's.

``pins.toml`` lies beside the folders of the component files, ``python -m harness pin --write`` adds
to it, and whoever reads declarations gives them what it holds: jobs and their provenance have only
pinned places. A pin lies in the folder that declares the component, so that each folder can be
used without the others. TOML, because the standard library reads it and refuses a place that is
there twice.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from harness.base.atomic_files import write_text
from harness.base.errors import SpecError, prefix, unknown
from harness.base.signatures import Signature, signature_of
from harness.experiment.components import WEIGHT_ARGUMENTS, Registry
from hypernoise.text_files import read_text
from hypernoise.weights.pins import (
    COMMIT,
    HASH_MARK,
    HUB_FILE,
    REPOSITORY,
    SHA256,
    Unpinned,
    is_remote,
    located,
)

FILE = "pins.toml"
#: Where the checkout's component files are.
FOLDER = Path("workflows")
ADVICE = (
    "`python -m harness pin` lists what lacks a pin, and with --write looks it up and trusts what "
    "it finds from then on"
)
#: Environment variable of a rehearsal's jobs: their data files with hashes, which are no published
#: ones.
STAND_INS = "HYPERNOISE_STAND_INS"
_HEADER = """\
# Trust on first use: what the publishers served on the given days, looked up by
# `python -m harness pin --write`. Nobody else has confirmed it. Another content stops a run.
# What stands here is never looked up again: to pin anew, delete its entry.
"""
#: Arguments that name files, in the forms of :mod:`hypernoise.weights.pinned_files`.
_FILE_ARGUMENTS = (*WEIGHT_ARGUMENTS, "lora", "clip", "questions")
#: Arguments that name a hub repository whose commit is simply the ``revision``.
_MAIN_REPOSITORIES = ("weights", "model")
#: Arguments that may name a file or folder of this machine.
_LOCAL_ARGUMENTS = (*_FILE_ARGUMENTS, "model", "detector", "distilled")
#: Before the name of a Python package whose folder holds weights (:mod:`hypernoise.methods.llm`).
_PACKAGE = "package:"
_DIGITS = {"commit": (COMMIT, 40), "sha256": (SHA256, 64)}
_KINDS = ("models", "rewards", "methods", "benchmarks")


@dataclass(frozen=True)
class Pin:
    """What a place must hold.

    Attributes:
        commit: of a repository, or of a file's where its place names none.
        sha256: of a file.
        size_bytes, source, date: of a file, who said so, and the day; for people.
    """

    commit: str = ""
    sha256: str = ""
    size_bytes: int = 0
    source: str = ""
    date: str = ""


@dataclass(frozen=True)
class Download:
    """A file or repository that a declaration names, or a default of its target.

    Attributes:
        place: as declared, without its hash.
        declared: what the declaration itself pins.
        kind, name, file: the component's folder, its name, and the file that declares it.
        keys: where in the declaration the place stands: its field, then keys of arguments.
        revision: of a repository: the argument for its commit, beside the place.
    """

    place: str
    declared: Pin
    kind: str
    name: str
    file: str
    keys: tuple[str, ...]
    revision: str = ""

    @property
    def lacks(self) -> tuple[str, ...]:
        """The fields of a pin that the declaration does not give."""
        return tuple(name for name in needed(self.place) if not getattr(self.declared, name))

    @property
    def component(self) -> str:
        """As messages name it: ``reward 'pickscore'``."""
        return f"{self.kind.removesuffix('s')} {self.name!r}"


class _Named(NamedTuple):
    keys: tuple[str, ...]
    place: str
    declared: Pin
    revision: str = ""


def needed(place: str) -> tuple[str, ...]:
    """Which fields of a pin fix what a place holds."""
    if REPOSITORY.fullmatch(place):
        return ("commit",)
    hub = HUB_FILE.fullmatch(place)
    return ("commit", "sha256") if hub and not hub["revision"] else ("sha256",)


def downloads(registry: Registry) -> list[Download]:
    """Everything that declared components name and that is not on this machine.

    Raises:
        SpecError: the target of an answerer does not exist.
    """
    found = []
    specs = [(kind, spec) for kind in _KINDS for spec in getattr(registry, kind).values()]
    for kind, spec in specs:
        named = list(named_places(spec.target, spec.arguments, spec.file, ("arguments",)))
        if getattr(spec, "revision", ""):
            pin = Pin(commit=spec.revision)
            named.insert(0, _Named(("weights",), spec.weights, pin, "revision"))
        found += [
            Download(place, declared, kind, spec.name, spec.file, keys, revision)
            for keys, place, declared, revision in named
            if revision or is_remote(place)
        ]
    return found


def read(file: Path) -> dict[str, Pin]:
    """Place -> pin, of a file that may be missing.

    Raises:
        SpecError: it is no TOML, a place stands there twice, or a pin is malformed.
    """
    if not file.is_file():
        return {}
    try:
        entries = tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{file}: {error}") from error
    except ValueError as error:
        raise SpecError(str(error)) from error
    return {place: _pin(place, entry, str(file)) for place, entry in entries.items()}


def add(file: Path, pins: Mapping[str, Pin]) -> None:
    """Add pins behind those that a file has; what stands there stays as it is.

    Raises:
        SpecError: as :func:`read`; the file is left alone.
    """
    there = read_text(file) if file.is_file() else _HEADER
    # A JSON string is one of TOML, too.
    said = partial(json.dumps, ensure_ascii=False)
    text = there
    for place, pin in pins.items():
        lines = [f"{name} = {said(value)}" for name, value in asdict(pin).items() if value]
        text += "\n".join(["", f"[{said(place)}]", *lines, ""])
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{file}: {error}") from error
    for place in pins:
        _pin(place, entries[place], str(file))
    write_text(file, text)


def use(registry: Registry, folders: Iterable[Path]) -> None:
    """Give declared components the pins of all folders that they are from.

    Raises:
        SpecError: as :func:`read` and :func:`apply`, or two folders pin a place differently.
    """
    kept: dict[str, tuple[Pin, Path]] = {}
    for file in (folder / FILE for folder in folders):
        own = {}
        for place, pin in read(file).items():
            first, where = kept.setdefault(place, (pin, file))
            if any(getattr(first, name) != getattr(pin, name) for name in needed(place)):
                raise SpecError(
                    f"{file}: the pin of {place} is another one than in {where}: "
                    "delete the wrong one"
                )
            if where == file:
                own[place] = pin
        apply(registry, own, str(file))


def file_of(users: Iterable[Download], folders: Sequence[Path]) -> Path:
    """Where the pin of a place belongs: the first of some folders that declares one who needs it,
    as that folder may be used without the others."""
    last = len(folders)
    declaring = sorted({Path(user.file).parent.parent for user in users})
    return min(declaring, key=lambda f: folders.index(f) if f in folders else last) / FILE


def apply(registry: Registry, pins: Mapping[str, Pin], file: str) -> None:
    """Give declared components what they lack; they are then as if they had declared it.

    Args:
        file: where the pins are from, for messages.

    Raises:
        SpecError: a pin contradicts a declaration, or no component names its place.
    """
    known = downloads(registry)
    places = {download.place for download in known}
    for place in pins:
        if place not in places:
            raise unknown("place of a pin", place, places, file)
    for download in known:
        if download.place in pins:
            pin = pins[download.place]
            for name in needed(download.place):
                declared, kept = getattr(download.declared, name), getattr(pin, name)
                if declared and declared != kept:
                    where = f" in {download.file}" if download.file else ""
                    raise SpecError(
                        f"{file}: {name} of {download.place} is {kept}, but {download.component} "
                        f"declares {declared}{where}: delete the wrong one"
                    )
            _give(registry, download, pin)


def commit_of(repository: str, folder: Path = FOLDER) -> str:
    """The commit that a pin gives a repository; empty without one. Raises as :func:`read`."""
    return read(folder / FILE).get(repository, Pin()).commit


def advice(error: BaseException | None) -> str:
    """What helps against an error, if it or what it came from is a download without a pin."""
    while error is not None:
        if isinstance(error, Unpinned):
            return f"; {ADVICE}"
        error = error.__cause__
    return ""


def named_places(
    target: str, given: Mapping[str, Any], file: str = "", above: tuple[str, ...] = ()
) -> Iterator[_Named]:
    """Every place that a target's arguments or defaults name: of the hub, the web, this machine.

    Args:
        target: what is called; empty where only arguments are known.
        given: its arguments, nested declarations among them.
        file: is blamed in messages.
        above: comes before the names of the arguments.

    Raises:
        SpecError: the target does not exist.
    """
    signature = (target and signature_of(target, file)) or Signature()
    arguments = {**signature.texts, **given}
    for name, value in arguments.items():
        revision = "revision" if name in _MAIN_REPOSITORIES else f"{name}_revision"
        if isinstance(value, Mapping):
            yield from named_places(str(value.get("target", "")), value, file, (*above, name))
        elif name in _FILE_ARGUMENTS and is_remote(str(value)):
            place, _, sha256 = str(value).partition(HASH_MARK)
            yield _Named((*above, name), place, Pin(sha256=sha256))
        elif (
            revision in signature.parameters
            and REPOSITORY.fullmatch(str(value))
            and not Path(str(value)).is_dir()
        ):
            commit = Pin(commit=str(arguments.get(revision, "")))
            yield _Named((*above, name), str(value), commit, revision)
        elif name in _LOCAL_ARGUMENTS and (place := _on_this_machine(str(value))):
            yield _Named((*above, name), place, Pin())


def beside(given: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """A declaration's arguments, with relative places that are not here but in ``home``."""
    found = dict(given)
    for name, value in given.items():
        if isinstance(value, Mapping):
            found[name] = beside(value, home)
        elif name in (*_LOCAL_ARGUMENTS, "images") and isinstance(value, str):
            place = value.partition(HASH_MARK)[0]
            if place and not located(place).exists() and (home / place).exists():
                found[name] = str(home / value)
    return found


def _on_this_machine(value: str) -> str:
    """The file or folder that a value names, the folder of a package among them; or nothing."""
    if value.startswith(_PACKAGE):
        package = find_spec(value.removeprefix(_PACKAGE))
        return str(Path(package.origin).parent) if package and package.origin else ""
    place = value.partition(HASH_MARK)[0]
    return place if place and located(place).exists() else ""


def _give(registry: Registry, download: Download, pin: Pin) -> None:
    if not download.lacks:
        return
    values = {download.keys: download.place}
    if download.revision:
        values[*download.keys[:-1], download.revision] = pin.commit
    else:
        place, hub = download.place, HUB_FILE.fullmatch(download.place)
        if hub and not hub["revision"]:
            place = f"hf://{hub['repository']}@{pin.commit}/{hub['path']}"
        values[download.keys] = f"{place}{HASH_MARK}{pin.sha256}"
    specs = getattr(registry, download.kind)
    for (field, *keys), value in values.items():
        spec = specs[download.name]
        specs[download.name] = replace(spec, **{field: _with(getattr(spec, field), keys, value)})


def _with(arguments: Mapping[str, Any], keys: list[str], value: str) -> dict[str, Any]:
    key, *deeper = keys
    return {**arguments, key: _with(arguments[key], deeper, value) if deeper else value}


def _pin(place: str, entry: Any, file: str) -> Pin:
    if not isinstance(entry, dict):
        raise SpecError(f'{prefix(file)}{place} is {entry!r}, must be a table, as in ["{place}"]')
    types = {field.name: type(field.default) for field in fields(Pin)}
    for name, value in entry.items():
        if name not in types:
            raise unknown(f"field of the pin of {place}:", name, types, file)
        if type(value) is not types[name]:
            raise SpecError(
                f"{prefix(file)}{name} of {place} is {value!r}, must be {types[name].__name__}"
            )
    wanted = needed(place)
    for name, (form, n_digits) in _DIGITS.items():
        value = entry.get(name, "")
        if name in wanted and not form.fullmatch(value):
            fault = f"is {value!r}, must be {n_digits} hexadecimal digits, in lower case"
            raise SpecError(f"{prefix(file)}{name} of {place} {fault}")
        if name not in wanted and value:
            raise SpecError(
                f"{prefix(file)}{place} takes no {name}, only {' and '.join(wanted)}: its place, "
                "or its commit, says it already"
            )
    return Pin(**entry)
