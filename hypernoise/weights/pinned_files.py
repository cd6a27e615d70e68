"""Published files: named together with their hash, downloaded, checked, and weights read.

A *pinned file* is one text: where the file is, and the SHA-256 that it must have::

    hf://owner/name@REVISION/path/in/the/repository#sha256=HASH
    https://host/path#sha256=HASH
    local/file.safetensors

The revision is a commit, so that nobody can change what is downloaded. A local file may go without
a hash: whoever names it has chosen it.
"""

from __future__ import annotations

import pickle
import shutil
import socket
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hypernoise.durable_files import partial_path, put
from hypernoise.weights.folders import check_file
from hypernoise.weights.pins import (
    HASH_MARK,
    HUB_FILE,
    SHA256,
    Missing,
    Unpinned,
    is_remote,
    located,
    sha256_of,
)

_SHOWN = 3
#: Without a word from the server.
_TIMEOUT_S = 60


#: While refusals are kept, host -> why it gave no answer.
_silent: dict[str, OSError] | None = None


@contextmanager
def refusals_kept() -> Iterator[None]:
    """While this is entered, a host that gave no answer is not asked again, but refused at once:
    each question takes its time, and many files are asked for."""
    global _silent
    before, _silent = _silent, {}
    try:
        yield
    finally:
        _silent = before


@contextmanager
def _patience(address: str) -> Iterator[None]:
    """A limit to the wait for a word of a server, which torch's download has not."""
    host, limit = urlsplit(address).netloc, socket.getdefaulttimeout()
    if _silent and host in _silent:
        raise _silent[host]
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    except (URLError, TimeoutError) as error:
        # An HTTPError is an answer.
        if _silent is not None and not isinstance(error, HTTPError):
            _silent[host] = error
        raise
    finally:
        socket.setdefaulttimeout(limit)


@dataclass(frozen=True)
class PinnedFile:
    """A weight, vocabulary or data file: ``place`` and, unless it is local, its SHA-256."""

    place: str
    sha256: str = ""

    @classmethod
    def parse(cls, text: str) -> PinnedFile:
        """Read the form that this module's docstring shows.

        Raises:
            ValueError: the text has another form.
            Unpinned: a file to download lacks its commit or hash.
        """
        place, mark, sha256 = text.partition(HASH_MARK)
        pinned = cls(place, sha256)
        if mark and not SHA256.fullmatch(sha256):
            raise ValueError(f"{text!r}: a SHA-256 is 64 hexadecimal digits, not {sha256!r}")
        hub = HUB_FILE.fullmatch(place)
        if place.startswith("hf://") and not (hub and hub["revision"]):
            fault = f"{text!r} is not 'hf://owner/name@COMMIT/file', with 40 digits"
            raise Unpinned(fault, place) if hub else ValueError(fault)
        if not pinned.is_local and not sha256:
            raise Unpinned(
                f"{text!r} has no '#sha256=': end it with '#sha256=' and the hash that "
                "`sha256sum` prints of a copy that you trust, or give that copy's path instead",
                place,
            )
        return pinned

    @property
    def is_local(self) -> bool:
        return not is_remote(self.place)

    def check(self) -> None:
        """Find a local file that is not whole, or a file that the hub does not give, before work.

        Raises:
            FileNotFoundError: there is no such local file.
            ValueError: it is truncated, or as :func:`hypernoise.weights.hub.check_file`.
        """
        if self.is_local:
            _check_whole(located(self.place))
        elif found := HUB_FILE.fullmatch(self.place):
            # Lazy import: local files are checked without the hub's client.
            from hypernoise.weights.hub import check_file

            check_file(found["repository"], found["revision"], found["path"], self.sha256)

    def check_reachable(self) -> None:
        """As :meth:`check`; a file of the web that was not fetched yet is asked for, too.

        Raises:
            Missing: the web does not give it, or as :meth:`check`.
        """
        self.check()
        if self.place.startswith("https://") and not self._cached.is_file():
            try:
                with _patience(self.place):
                    urlopen(Request(self.place, method="HEAD")).close()
            except (OSError, HTTPException) as error:
                raise Missing(
                    f"{self.place} cannot be had ({error}): get it elsewhere, and put it there as "
                    f"{self._cached}",
                    self.place,
                    f"curl -L --create-dirs -o {self._cached} {self.place}",
                ) from error

    def fetch(self, path: Path | None = None) -> Path:
        """The file on this machine, downloaded where it is not there yet.

        Args:
            path: where a file of the web is kept; in torch's cache unless given.

        Raises:
            FileNotFoundError: a local file is missing, or the web does not give one.
            ValueError: it is truncated, the hub does not give it, or its SHA-256 is another one.
        """
        if self.is_local:
            self.check()
            return self._checked(located(self.place))
        if found := HUB_FILE.fullmatch(self.place):
            # Lazy import: local files are read without the hub's client.
            from huggingface_hub import hf_hub_download

            from hypernoise.weights.hub import explained

            with explained(found["repository"], found["revision"], found["path"]):
                path = Path(
                    hf_hub_download(found["repository"], found["path"], revision=found["revision"])
                )
            return self._checked(path)
        return self._of_web(path or self._cached)

    @property
    def _cached(self) -> Path:
        folder = Path(torch.hub.get_dir(), "hypernoise", self.sha256[:16])
        return folder / self.place.rpartition("/")[2]

    def _of_web(self, path: Path) -> Path:
        if path.is_file():
            return self._checked(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole and checked, or not there at all.
        partial = partial_path(path)
        try:
            with _patience(self.place):
                torch.hub.download_url_to_file(self.place, str(partial), progress=False)
            return put(self._checked(partial), path)
        except (OSError, HTTPException) as error:
            raise Missing(
                f"{path} is missing, and {self.place} cannot be had ({error}): put the file there",
                self.place,
                f"curl -L --create-dirs -o {path} {self.place}",
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _checked(self, path: Path) -> Path:
        found = sha256_of(path) if self.sha256 else ""
        if found != self.sha256:
            raise ValueError(
                f"{path} (from {self.place}) has the SHA-256 {found}, expected {self.sha256}"
            )
        return path


def first_fetched(address: str) -> tuple[PinnedFile, int]:
    """A file of the web that nothing pins, with the hash that it has today, and its size in bytes.

    It is kept where :meth:`PinnedFile.fetch` looks for it.

    Raises:
        FileNotFoundError: the web does not give it.
        ValueError: it ended before its announced size.
    """
    folder = Path(torch.hub.get_dir(), "hypernoise")
    folder.mkdir(parents=True, exist_ok=True)
    partial = partial_path(folder / "fetched")
    try:
        try:
            with urlopen(address, timeout=_TIMEOUT_S) as reply, partial.open("wb") as file:
                shutil.copyfileobj(reply, file)
                announced = reply.headers.get("Content-Length")
        except (OSError, HTTPException) as error:
            raise FileNotFoundError(f"{address} cannot be had ({error})") from error
        size_bytes = partial.stat().st_size
        # Nothing but the server's announcement can tell the file's length.
        if announced is not None and int(announced) != size_bytes:
            raise ValueError(f"{address} ended after {size_bytes} of {announced} bytes: try again")
        pinned = PinnedFile(address, sha256_of(partial))
        pinned._cached.parent.mkdir(exist_ok=True)
        put(partial, pinned._cached)
    finally:
        partial.unlink(missing_ok=True)
    return pinned, size_bytes


def check_safetensors_file(place: str) -> None:
    """Find a pinned file that cannot be had, or that is no safetensors, before it is loaded.

    Raises:
        ValueError, FileNotFoundError: as :meth:`PinnedFile.parse` and :meth:`PinnedFile.check`, or
            its name is another format's.
    """
    file = PinnedFile.parse(place)
    if not file.place.endswith(".safetensors"):
        raise ValueError(f"{file.place} is no .safetensors file, and nothing else is loaded here")
    file.check()


def read(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of a PyTorch one, which may run no code.

    A dictionary that some trainings wrap them in, under ``state_dict`` or ``model``, is taken off.

    Raises:
        FileNotFoundError, ValueError: the file is missing, truncated, or holds something else.
    """
    _check_whole(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"weight file {path} holds more than tensors: {error}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"weight file {path} holds no dictionary of tensors")
    return dict(content)


def init_empty_weights(include_buffers: bool = False) -> AbstractContextManager[None]:
    """Networks that are built in it take no memory for parameters, nor for buffers if included."""
    # Lazy import: jobs that check files and fill no network do without accelerate.
    from accelerate import init_empty_weights as on_meta  # type: ignore[import-untyped]

    made: AbstractContextManager[None] = on_meta(include_buffers=include_buffers)
    return made


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Give a network that was built empty its weights, as float32, frozen, for inference.

    Args:
        network: built under ``init_empty_weights``; every parameter must be in ``tensors``.
        tensors: name -> weight; no others than the network's.
        source: where they come from, for messages.

    Raises:
        ValueError: names or shapes differ.
    """
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors]
    surplus = [name for name in tensors if name not in wanted]
    if missing or surplus:
        raise ValueError(
            f"weights {source} do not fit {type(network).__name__}: "
            f"missing {_some(missing)}, unexpected {_some(surplus)}"
        )
    for name, value in tensors.items():
        if value.shape != wanted[name].shape:
            raise ValueError(
                f"weights {source} do not fit {type(network).__name__}: {name} has the shape "
                f"{tuple(value.shape)}, expected {tuple(wanted[name].shape)}"
            )
    floats = {name: v.float() if v.is_floating_point() else v for name, v in tensors.items()}
    network.load_state_dict(floats, assign=True)
    network.requires_grad_(False).eval()


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _check_whole(path: Path) -> None:
    if path.suffix == ".safetensors":
        check_file(path)
        return
    if not path.is_file():
        raise FileNotFoundError(f"weight file {path} is missing")
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if path.stat().st_size == 0 or (is_archive and not zipfile.is_zipfile(path)):
        raise ValueError(f"weight file {path} is truncated")
