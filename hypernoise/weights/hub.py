"""Checks of a hub repository before anything long starts, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import huggingface_hub as hub
from huggingface_hub import errors

from hypernoise.text_files import read_json
from hypernoise.weights.folders import (
    INDEX,
    check_component,
    check_folder,
    check_safetensors,
    component_names,
)
from hypernoise.weights.pins import COMMIT, SHA256, Missing, Unpinned, sha256_of

_PAGES = "https://huggingface.co/"
_ASK_LATER = "try again where there is a connection"
_LOG_IN = "hf auth login"
#: While they are kept: (repository, revision, file) -> how the hub refused it.
_refusals: dict[tuple[str, str, str], Missing] | None = None
#: What the hub's client lets through where there is no connection.
_UNREACHABLE = (OSError, errors.HTTPError)  # type: ignore[attr-defined]


@cache
def check_repository(repository: str, revision: str, variant: str = "") -> None:
    """Check that a repository's pipeline can be had at a revision, as safetensors.

    A revision that the local cache holds completely is not looked up, and none twice in a process.

    Raises:
        ValueError: the revision is no commit, the repository or revision does not exist or is not
            open to this user, the hub is out of reach, or weights are pickled or lack the variant.
        FileNotFoundError: a component has no weights at all.
    """
    _check_names(repository, revision)
    index = _fetch(repository, revision, INDEX)
    try:
        # The index is cached in the snapshot's own folder.
        check_folder(str(index.parent))
        return
    except FileNotFoundError:
        files = _listing(repository, revision)
    for name in component_names(read_json(index)):
        inside = [file for file in files if file.startswith(f"{name}/")]
        if f"{name}/config.json" in inside:
            check_safetensors(f"{repository}/{name}", inside)
    if variant and not any(f".{variant}." in file for file in files):
        raise ValueError(f"{repository} has no files of the variant {variant!r}")


@cache
def check_network(repository: str, revision: str, folder: str = "") -> None:
    """Check that a repository has one network, there or in a folder of it, as safetensors.

    For repositories that are no whole pipeline. Raises and remembers as :func:`check_repository`.
    """
    _check_names(repository, revision)
    inside = f"{folder}/" if folder else ""
    config = _fetch(repository, revision, f"{inside}config.json")
    try:
        check_component(config.parent)
    except FileNotFoundError:
        files = [file for file in _listing(repository, revision) if file.startswith(inside)]
        check_safetensors(f"{repository}/{folder}".rstrip("/"), files)


@cache
def check_file(repository: str, revision: str, file: str, sha256: str) -> None:
    """Check that a single file can be had, and that the hub says it is the expected one.

    A file that is in the local cache is not looked up, and none twice in a process.

    Raises:
        ValueError: as :func:`check_repository`, or the hub's file has another SHA-256.
    """
    if isinstance(hub.try_to_load_from_cache(repository, file, revision=revision), str):
        return
    with explained(repository, revision, file):
        address = hub.hf_hub_url(repository, file, revision=revision)
        etag = hub.get_hf_file_metadata(address).etag or ""
    # The ETag is the SHA-256 of large files (all weights), but git's hash of small ones.
    if SHA256.fullmatch(etag) and etag != sha256:
        raise ValueError(
            f"{file} of {repository} has the SHA-256 {etag} at {revision}, expected {sha256}"
        )


class Published(NamedTuple):
    """A file that the hub has.

    Attributes:
        is_recorded: the hub has its SHA-256 on record; otherwise it was downloaded.
    """

    sha256: str
    size_bytes: int
    is_recorded: bool


def newest_commit(repository: str) -> str:
    """The commit that a repository's main branch is at.

    Raises:
        ValueError: as :func:`check_repository`, or the answer is no commit.
    """
    with explained(repository, remedy=_ASK_LATER):
        commit = str(hub.HfApi().model_info(repository).sha)
    if not COMMIT.fullmatch(commit):
        raise ValueError(
            f"{endpoint()} says that {repository} is at {commit!r}, which is no commit"
        )
    return commit


def published(repository: str, file: str, revision: str) -> Published:
    """A file of a repository at a commit: a large one by the hub's records, a small one by itself.

    Raises:
        ValueError: as :func:`check_repository`, the file is missing, or its record has no SHA-256.
    """
    with explained(repository, revision, file, _ASK_LATER):
        found = hub.HfApi().get_paths_info(repository, [file], revision=revision)
        if not found or not isinstance(found[0], hub.RepoFile):
            raise ValueError(f"{repository} lacks a file at {revision}: {file} is missing")
        # Git's own hash, which alone the hub has of small files, is another one.
        stored = found[0].lfs
        if stored is None:
            path = Path(hub.hf_hub_download(repository, file, revision=revision))
            return Published(sha256_of(path), path.stat().st_size, is_recorded=False)
    if not SHA256.fullmatch(stored.sha256):
        raise ValueError(f"{endpoint()} gives {file} of {repository} no SHA-256: {stored.sha256!r}")
    return Published(stored.sha256, stored.size, is_recorded=True)


def endpoint() -> str:
    """The address of the hub, or of what ``HF_ENDPOINT`` names in its place."""
    return str(hub.HfApi().endpoint)


def _check_names(repository: str, revision: str) -> None:
    check_commit(repository, revision)
    if Path(repository).exists():
        raise ValueError(
            f"{repository} is a folder here, and a folder has no revision: leave the revision out, "
            "or run where no such folder is"
        )


def check_commit(repository: str, revision: str) -> None:
    """Check that a revision is a commit: branches and tags move.

    Raises:
        Unpinned: it is empty.
        ValueError: it is something else.
    """
    if not COMMIT.fullmatch(revision):
        fault = (
            f"revision {revision!r} of {repository} is no commit: give its 40 hexadecimal digits "
            f"(see {_PAGES}{repository}/commits), because branches and tags move"
        )
        raise ValueError(fault) if revision else Unpinned(fault, repository)


def _fetch(repository: str, revision: str, file: str) -> Path:
    with explained(repository, revision, file):
        return Path(hub.hf_hub_download(repository, file, revision=revision))


def _listing(repository: str, revision: str) -> list[str]:
    with explained(repository, revision):
        return hub.HfApi().list_repo_files(repository, revision=revision)


@contextmanager
def refusals_kept() -> Iterator[None]:
    """What the hub refuses while this is entered is not asked for again, but refused at once: where
    there is no connection, each question takes its time, and many jobs ask the same."""
    global _refusals
    before, offline = _refusals, hub.constants.HF_HUB_OFFLINE
    _refusals = {}
    try:
        yield
    finally:
        _refusals, hub.constants.HF_HUB_OFFLINE = before, offline


@contextmanager
def explained(
    repository: str, revision: str = "main", file: str = "", remedy: str = ""
) -> Iterator[None]:
    """Turn the client's errors into a ValueError: one sentence that says what to do.

    It is :class:`Missing` where that is for the user to do: there are terms to accept, or files to
    be fetched from where there is a connection.

    Args:
        remedy: what to do where the hub is out of reach, if not to download the revision.
    """
    asked = (repository, revision, file)
    if _refusals and asked in _refusals:
        raise _refusals[asked]
    try:
        with _in_words(repository, revision, file, remedy):
            yield
    except Missing as error:
        if _refusals is not None:
            _refusals[asked] = error
            hub.constants.HF_HUB_OFFLINE |= is_out_of_reach(error)
        raise


def is_out_of_reach(error: BaseException | None) -> bool:
    """Whether no answer came at all: the client's own errors, which carry answers, are OSErrors."""
    while error is not None:
        if isinstance(error, errors.HTTPError) and not isinstance(error, OSError):  # type: ignore[attr-defined]
            return True
        error = error.__cause__
    return False


@contextmanager
def _in_words(repository: str, revision: str, file: str, remedy: str) -> Iterator[None]:
    page = _PAGES + repository
    try:
        yield
    except errors.GatedRepoError as error:
        raise Missing(
            f"{repository} is gated: accept its terms at {page}, then log in with `hf auth login` "
            "or set HF_TOKEN",
            repository,
            f"{_LOG_IN} (after the terms at {page})",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{repository} has no revision {revision}: see {page}/commits") from error
    except errors.RepositoryNotFoundError as error:
        raise Missing(
            f"the hub has no repository {repository}, or shows it to others only: check the name, "
            "or log in with `hf auth login`",
            repository,
            _LOG_IN,
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        what = "holds no diffusers pipeline" if file == INDEX else "lacks a file"
        raise ValueError(f"{repository} {what} at {revision}: {file} is missing") from error
    except _UNREACHABLE as error:
        if remedy:
            fault = f"{endpoint()} is out of reach ({type(error).__name__})"
            raise ValueError(f"{repository}: {fault}: {remedy}") from error
        # Weights of other names may lie beside a single file; a config is one of many files.
        single = f"{repository} {file}" if file and not file.endswith(".json") else repository
        command = f"hf download {single} --revision {revision}"
        raise Missing(
            f"{repository} at {revision} is not (completely) in the local cache, and the hub is "
            f"out of reach ({type(error).__name__}): where there is a connection, run "
            f"`{command}`, and let HF_HOME name that cache",
            f"hf://{repository}@{revision}/{file}" if single != repository else repository,
            command,
        ) from error
