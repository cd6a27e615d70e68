"""Stand-ins: small random weights in the place, the file format and under the names of real ones.

A class whose weights are downloaded makes its own (:class:`HasStandIn`), beside the code that reads
them; ``python -m harness rehearse`` lays them into caches of its own, where everything finds them
as if they had been downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from safetensors.torch import save
from torch import Tensor, nn

from hypernoise.durable_files import partial_path
from hypernoise.weights.pins import HASH_MARK, HUB_FILE, sha256_of

#: Environment of whoever reads the shelves: variable -> folder below the shelf's own.
CACHES = {"HF_HOME": "hub", "TORCH_HOME": "torch"}
#: The largest file of a network's weights, so that stand-ins are in several, as large models are.
SHARD = "1MB"
_Target = TypeVar("_Target", bound=Any)


class Shelf:
    """Caches of the hub and of torch, which stand-ins are laid into.

    Args:
        folder: where :data:`CACHES` are made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def environment(self) -> dict[str, str]:
        """What libraries have to be told to look here, and nowhere else."""
        found = {name: str((self.folder / place).absolute()) for name, place in CACHES.items()}
        # Where they are set, these go before HF_HOME.
        cache = str(self._repositories.absolute())
        found |= dict.fromkeys(("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"), cache)
        return found | {"HF_HUB_OFFLINE": "1"}

    @property
    def _repositories(self) -> Path:
        return self.folder / CACHES["HF_HOME"] / "hub"

    def repository(self, name: str, commit: str) -> Path:
        """The folder of a hub repository at a commit, in the layout of the hub's cache."""
        folder = f"models--{name.replace('/', '--')}"
        path = self._repositories / folder / "snapshots" / commit
        path.mkdir(parents=True, exist_ok=True)
        return path

    def file(self, place: str, content: Mapping[str, Tensor] | bytes) -> str:
        """Write a file where a pinned one would be after its download.

        Args:
            place: as of :class:`hypernoise.weights.pinned_files.PinnedFile`.
            content: bytes; or weights, which become safetensors or, wrapped in ``state_dict`` as
                trainings do, a file of PyTorch, as the place ends.

        Returns:
            the place with the hash of what was written.
        """
        place = place.partition(HASH_MARK)[0]
        partial = partial_path(self.folder / place.rpartition("/")[2])
        partial.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            partial.write_bytes(content)
        elif place.endswith(".safetensors"):
            partial.write_bytes(save({name: value.clone() for name, value in content.items()}))
        else:
            torch.save({"state_dict": dict(content)}, partial)
        digest = sha256_of(partial)
        if found := HUB_FILE.fullmatch(place):
            commit = found["revision"] or commit_of(found["repository"])
            place = f"hf://{found['repository']}@{commit}/{found['path']}"
            path = self.repository(found["repository"], commit) / found["path"]
        else:
            cache = self.folder / CACHES["TORCH_HOME"] / "hub" / "hypernoise"
            path = cache / digest[:16] / place.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)
        return f"{place}{HASH_MARK}{digest}"


@runtime_checkable
class HasStandIn(Protocol):
    """A target whose weights are downloaded, and that can do with small random ones."""

    def stand_in(self, shelf: Shelf, **given: Any) -> Mapping[str, Any]:
        """Lay small random weights onto a shelf: a classmethod.

        Args:
            shelf: where everything that is downloaded goes.
            given: the declaration's arguments, and the target's defaults that are texts.

        Returns:
            the arguments that are others for them: sizes, hashes, made-up commits.
        """
        ...


def with_stand_in(make: Callable[..., Mapping[str, Any]]) -> Callable[[_Target], _Target]:
    """Give a function that is a target its ``stand_in``, which takes ``shelf`` and ``**given``."""

    def mark(target: _Target) -> _Target:
        target.stand_in = make
        return target

    return mark


def spread(network: nn.Module, std: float = 0.1) -> nn.Module:
    """The network with matrices that are drawn wider than its class does, which makes a trained
    one's start: else what it gives hardly depends on what it sees."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.normal_(std=std)
    return network


def commit_of(name: str, given: str = "") -> str:
    """The commit that is declared, or a made-up one: 40 digits, the same for the same name."""
    return given or hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def byte_tokenizer(*special: str) -> Any:
    """A tokenizer of language models that spells texts in bytes, with further special tokens."""
    # Lazy import: shelves are made, and classes ask for them, without transformers.
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    own = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    words = [*own.values(), *special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    known = {word: index for index, word in enumerate(words)}
    model: Any = Tokenizer(BPE(known, [], unk_token=own["unk_token"]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    made: Any = PreTrainedTokenizerFast
    return made(tokenizer_object=model, extra_special_tokens=list(special), **own)
