"""Checks of a hub repository before anything long starts, in words that say what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import huggingface_hub as hub
from huggingface_hub import errors

from hypernoise.weights import INDEX, check_folder, check_safetensors, component_names

_COMMIT = re.compile(r"[0-9a-f]{40}")
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
    check_commit(repository, revision)
    if Path(repository).exists():
        raise ValueError(
            f"{repository} is a folder here, and a folder has no revision: leave the revision out, "
            "or run where no such folder is"
        )
    with _explained(repository, revision):
        index = Path(hub.hf_hub_download(repository, INDEX, revision=revision))
    try:
        # The index is cached in the snapshot's own folder.
        check_folder(str(index.parent))
    except FileNotFoundError:
        with _explained(repository, revision):
            files = hub.HfApi().list_repo_files(repository, revision=revision)
        _check_listing(repository, index, files, variant)


def check_commit(repository: str, revision: str) -> None:
    """Raise ValueError unless a revision is a commit: branches and tags move."""
    if not _COMMIT.fullmatch(revision):
        raise ValueError(
            f"revision {revision!r} of {repository} is no commit: give its 40 hexadecimal digits, "
            "because branches and tags move"
        )


def _check_listing(repository: str, index: Path, files: list[str], variant: str) -> None:
    for name in component_names(json.loads(index.read_text(encoding="utf-8"))):
        inside = [file for file in files if file.startswith(f"{name}/")]
        if f"{name}/config.json" in inside:
            check_safetensors(f"{repository}/{name}", inside)
    if variant and not any(f".{variant}." in file for file in files):
        raise ValueError(f"{repository} has no files of the variant {variant!r}")


@contextmanager
def _explained(repository: str, revision: str) -> Iterator[None]:
    """Turn the client's errors into one sentence that says what to do."""
    page = f"https://huggingface.co/{repository}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{repository} is gated: accept its terms at {page}, then log in with `hf auth login` "
            "or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{repository} has no revision {revision}: see {page}/commits") from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"the hub has no repository {repository}, or shows it to others only: check the name, "
            "or log in with `hf auth login`"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise ValueError(
            f"{repository} holds no diffusers pipeline at {revision}: {INDEX} is missing"
        ) from error
    except _UNREACHABLE as error:
        raise ValueError(
            f"{repository} at {revision} is not (completely) in the local cache, and the hub is "
            f"out of reach ({type(error).__name__}): where there is a connection, run "
            f"`hf download {repository} --revision {revision}`, and let HF_HOME name that cache"
        ) from error
