"""``python -m harness pin``: what is downloaded without a hash or commit, and pins for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.base.errors import SpecError, unknown
from harness.experiment import pins
from harness.experiment.checks import check
from harness.experiment.component_files import declared
from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.config_files import extended, load_yaml
from harness.experiment.pins import Download, Pin
from harness.experiment.plan import Experiment
from hypernoise.weights.pins import HUB_FILE, REPOSITORY

_LISTED = (
    "None of this is downloaded before it has a pin. With --write each publisher is asked what it "
    "serves now, and {file} keeps the answer: trust on first use."
)
_TRUSTED = (
    "Trust on first use: this is what the publishers serve today; nobody else has confirmed it. "
    "Compare it with a copy that you trust, if you have one. From now on another content stops a "
    "run. Commit {file}: it belongs to your experiment."
)
_LACKING = {"commit": "commit", "sha256": "SHA-256"}


def run(
    names: Sequence[str], write: bool, configfile: Path | None, components: Sequence[Path]
) -> None:
    """List what declared components download without a pin; with ``write``, pin it.

    Args:
        names: only these components, and the rewards that they are sums of.
        write: ask the publishers, and add what they say to the pins of the folder that declares
            the component.
        configfile: only what this config needs.
        components: folders of the component files.

    Raises:
        SpecError: an unknown name, or a faulty declaration, config or pin.
        ValueError: a publisher does not tell; what the others said is kept.
    """
    config = None
    if configfile:
        config = read(extended(load_yaml(configfile), configfile.parent), str(configfile))
    folders = (*components, *map(Path, config.components if config else ()))
    registry = declared(*folders)
    declared_names = {*registry.models, *registry.rewards, *registry.methods, *registry.benchmarks}
    for name in names:
        if name not in declared_names:
            raise unknown("component", name, declared_names)
    wanted = set(names) or declared_names
    if config:
        experiment = Experiment(config, registry, str(configfile))
        check(experiment)
        wanted &= experiment.needed(experiment.image_sets)
    # Of sums of rewards the rewards, too.
    rewards = [registry.reward(name) for name in wanted if name in registry.rewards]
    wanted |= {single.name for reward in rewards for single in reward.singles()}
    lacking: dict[str, list[Download]] = {}
    for download in pins.downloads(registry):
        if download.lacks:
            lacking.setdefault(download.place, []).append(download)
    # All who need a place say where its pin belongs, though only some of them are asked for.
    files = {place: pins.file_of(users, folders) for place, users in lacking.items()}
    lacking = {
        place: asked
        for place, users in lacking.items()
        if (asked := [user for user in users if user.name in wanted])
    }
    if write and not components[0].is_dir():
        raise SpecError(
            f"no folder {components[0]} here to keep {pins.FILE} in: run this in a project "
            "(`hypernoise init DIR` lays one down)"
        )
    if not lacking:
        print(f"Everything that these {len(wanted)} components download is pinned.")
    elif write:
        _write(registry, lacking, files)
    else:
        print("\n".join(_lines(users) for users in lacking.values()))
        print(_LISTED.format(file=_named(files[place] for place in lacking)))


def look_up(place: str) -> Pin:
    """What a publisher says, at this moment, that a place holds.

    Raises:
        ValueError, FileNotFoundError: it does not say; see :mod:`hypernoise.weights.hub` and
            :func:`hypernoise.weights.pinned_files.first_fetched`.
    """
    # Not at the top: a list needs none of it.
    from hypernoise.weights import hub
    from hypernoise.weights.pinned_files import first_fetched

    today = datetime.now(UTC).date().isoformat()
    if REPOSITORY.fullmatch(place):
        commit = hub.newest_commit(place)
        return Pin(commit=commit, source=f"{hub.endpoint()}, newest commit", date=today)
    found = HUB_FILE.fullmatch(place)
    if found is None:
        pinned, size_bytes = first_fetched(place)
        return Pin(sha256=pinned.sha256, size_bytes=size_bytes, source="downloaded", date=today)
    commit = found["revision"] or hub.newest_commit(found["repository"])
    published = hub.published(found["repository"], found["path"], commit)
    return Pin(
        commit="" if found["revision"] else commit,
        sha256=published.sha256,
        size_bytes=published.size_bytes,
        source=f"{hub.endpoint()}, {'recorded' if published.is_recorded else 'downloaded'}",
        date=today,
    )


def _named(files: Iterable[Path]) -> str:
    return " and ".join(dict.fromkeys(map(str, files)))


def _write(
    registry: Registry, lacking: dict[str, list[Download]], files: Mapping[str, Path]
) -> None:
    failed, written = [], []
    for place, users in lacking.items():
        is_long = not REPOSITORY.fullmatch(place) and not HUB_FILE.fullmatch(place)
        print(_lines(users) + ("\n  downloading..." if is_long else ""), flush=True)
        try:
            pin = look_up(place)
            pins.apply(registry, {place: pin}, str(files[place]))
            pins.add(files[place], {place: pin})
        except (ValueError, OSError) as error:
            failed.append(f"{place}: {error}")
        else:
            written.append(files[place])
            said = {
                "commit": pin.commit,
                "SHA-256": pin.sha256,
                "size": f"{pin.size_bytes} bytes" if pin.sha256 else "",
                "from": pin.source,
            }
            print("\n".join(f"  {name} {value}" for name, value in said.items() if value))
    if written:
        print(_TRUSTED.format(file=_named(written)))
    if failed:
        raise ValueError(f"{len(failed)} of {len(lacking)} without a pin: {'; '.join(failed)}")


def _lines(users: Sequence[Download]) -> str:
    first = users[0]
    lacks = " and ".join(_LACKING[name] for name in first.lacks)
    named = [f"    {user.component}{f', {user.file}' if user.file else ''}" for user in users]
    return "\n".join([f"{first.place}", f"  lacks {lacks}, needed by", *named])
