"""What is known of downloads before they start: sizes, licences, and whether they are gated.

``publishers.toml`` holds the facts. Nothing is asked of a publisher here, and nothing is guessed:
what the file does not say is unknown, and stays unknown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from harness.base.errors import SpecError, unknown
from hypernoise.weights.pins import HASH_MARK, HUB_FILE, REPOSITORY

FILE = Path(__file__).with_suffix(".toml")
_OF_GIT = re.compile(
    r"https://(?P<host>github\.com)/(?P<name>[^/]+/[^/]+)/raw/(?P<commit>[^/]+)/(?P<path>.+)"
)
_OF_HUB = re.compile(
    r"https://huggingface\.co/(?P<name>datasets/[^/]+/[^/]+)/resolve/(?P<commit>[^/]+)/(?P<path>.+)"
)


@dataclass(frozen=True)
class Publisher:
    """What a repository, or an address of the web, is known to hold: ``publishers.toml`` says what
    each field means."""

    commit: str = ""
    licence: str = ""
    gated: bool | None = None
    model_type: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    unsized: tuple[str, ...] = ()
    unconfirmed: tuple[str, ...] = ()
    partial: bool = False

    def lists(self, path: str) -> bool:
        """Whether a copy of its listing has the file."""
        return path in self.sizes or path in self.unsized


class Source(NamedTuple):
    """Where a place is: its publisher's key in the facts, commit and file; a repository's whole
    pipeline has no file."""

    publisher: str
    commit: str = ""
    path: str = ""


class Known(NamedTuple):
    """What is known of one download.

    Attributes:
        size_bytes: None where it is unknown; ``is_least`` says that it is a lower bound.
        licence: empty where it is unknown.
        gated: None where it is unknown.
    """

    size_bytes: int | None = None
    is_least: bool = False
    licence: str = ""
    gated: bool | None = None

    @property
    def size(self) -> str:
        """In words: ``3.46 GB``, ``at least 5.23 GB`` or ``unknown``."""
        if self.size_bytes is None:
            return "unknown"
        return ("at least " if self.is_least else "") + in_bytes(self.size_bytes)

    @property
    def access(self) -> str:
        """In words, whether terms have to be accepted first."""
        return {None: "unknown", True: "gated", False: "open"}[self.gated]


@cache
def publishers() -> dict[str, Publisher]:
    """The facts: repository or address -> what is known of it.

    Raises:
        SpecError: a table has an unknown key.
    """
    names = [entry.name for entry in fields(Publisher)]
    found = {}
    for key, said in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        for name in said:
            if name not in names:
                raise unknown(f"fact of {key}:", name, names, str(FILE))
        texts = {name: tuple(v) for name, v in said.items() if isinstance(v, list)}
        found[key] = Publisher(**{**said, **texts})
    return found


def source_of(place: str) -> Source:
    """The publisher, commit and file of a place, in any form that declarations have.

    Raises:
        SpecError: it is none of the hub, and no address.
    """
    address = place.partition(HASH_MARK)[0]
    if REPOSITORY.fullmatch(address):
        return Source(address)
    if hub := HUB_FILE.fullmatch(address):
        return Source(hub["repository"], hub["revision"] or "", hub["path"])
    if found := _OF_HUB.fullmatch(address) or _OF_GIT.fullmatch(address):
        host = f"{found['host']}/" if found.re is _OF_GIT else ""
        return Source(host + found["name"], found["commit"], unquote(found["path"]))
    if address.startswith("https://"):
        return Source(address)
    raise SpecError(f"{place!r} is no repository of the hub, no file of one, and no address")


def known(place: str) -> Known:
    """What is known of a download: of one file, or of all files of a repository."""
    source = source_of(place)
    publisher = publishers().get(source.publisher)
    if publisher is None:
        return Known()
    if source.path:
        size = publisher.sizes.get(source.path)
        return Known(size, False, publisher.licence, publisher.gated)
    whole = sum(publisher.sizes.values()) or None
    return Known(whole, publisher.partial, publisher.licence, publisher.gated)


def unlisted(places: Iterable[str]) -> list[str]:
    """A line for each place that the listing of its repository, at its commit, does not have.

    What is at another commit than was listed, and what no listing was found of, counts as well,
    unless the facts say of the file that it is unconfirmed.
    """
    faults = []
    for place in places:
        source = source_of(place)
        publisher = publishers().get(source.publisher)
        if publisher is None:
            faults.append(f"{place}: nothing is known of {source.publisher}")
        elif source.path in publisher.unconfirmed:
            continue
        elif source.commit and source.commit != publisher.commit:
            faults.append(f"{place}: was listed at {publisher.commit or 'no commit'}")
        elif source.path and not publisher.lists(source.path):
            there = ", ".join([*publisher.sizes, *publisher.unsized])
            faults.append(f"{place}: {source.publisher} has no {source.path}, but {there}")
    return faults


def in_bytes(size: float) -> str:
    """A size in words, in decimal units as publishers give them, to three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
