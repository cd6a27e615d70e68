"""The files of a training: checkpoints that appear whole, and what is continued from them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hypernoise.durable_files import put
from hypernoise.identity import KEPT_ONLY, SPEED_ONLY
from hypernoise.networks.protocol import Trainable
from hypernoise.rewards.protocol import Reward
from hypernoise.training.kinds import kind_name
from hypernoise.training.measurements import Prompt, Row
from hypernoise.training.options import TrainingOptions

CHECKPOINTS = "checkpoints"
_STATE_FILE = "training_state.pt"
_ROWS_FILE = "rows.json"


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where a training in ``folder`` keeps the checkpoint of an optimizer step."""
    return folder / CHECKPOINTS / f"step_{step:06d}"


def checkpoints_in(folder: Path) -> dict[int, Path]:
    """The finished checkpoints of a training's folder by their optimizer step, in its order."""
    found = (folder / CHECKPOINTS).glob("step_*")
    finished = sorted(path for path in found if path.is_dir() and path.suffix != ".partial")
    return {int(path.name.removeprefix("step_")): path for path in finished}


def fingerprint(
    objective: Trainable, reward: Reward, prompts: Sequence[Prompt], options: TrainingOptions
) -> dict[str, Any]:
    """What two trainings must share for one to continue the other."""
    digest = hashlib.sha256(json.dumps([list(prompt) for prompt in prompts]).encode())
    own = {
        "kind": kind_name(options, objective.kind),
        "reward": reward.name,
        "prompts": digest.hexdigest(),
    }
    free = {
        name
        for name, field in type(options).model_fields.items()
        if SPEED_ONLY in field.metadata or KEPT_ONLY in field.metadata
    }
    if options.decay == "none":
        # With a decay, the total number of steps changes every learning rate.
        free.add("steps")
    return own | options.model_dump(exclude=free)


def write_checkpoint(
    folder: Path, objective: Trainable, rows: Sequence[Row], state: dict[str, Any]
) -> None:
    """Write a checkpoint that appears whole or not at all.

    Older checkpoints of the training keep their network only: the newest is continued from.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    objective.save(partial)
    (partial / _ROWS_FILE).write_text(json.dumps(rows))
    torch.save(state, partial / _STATE_FILE)
    shutil.rmtree(folder, ignore_errors=True)
    put(partial, folder)
    for older in checkpoints_in(folder.parent.parent).values():
        if older != folder:
            (older / _STATE_FILE).unlink(missing_ok=True)
            (older / _ROWS_FILE).unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a training's folder that can be continued from."""
    for checkpoint in reversed(checkpoints_in(folder).values()):
        if (checkpoint / _STATE_FILE).is_file() and (checkpoint / _ROWS_FILE).is_file():
            return checkpoint
    return None


def read_state(
    checkpoint: Path, wanted: dict[str, Any], options: TrainingOptions
) -> dict[str, Any]:
    """The state that :func:`write_checkpoint` was given.

    An option that there was not yet when it was written had its default.

    Raises:
        ValueError: its ``"fingerprint"`` is not the wanted one.
    """
    state: dict[str, Any] = torch.load(checkpoint / _STATE_FILE, weights_only=True)
    defaults = {name: field.default for name, field in type(options).model_fields.items()}
    saved = {name: defaults.get(name) for name in wanted} | state["fingerprint"]
    for name in saved.keys() | wanted.keys():
        if saved.get(name) != wanted.get(name):
            raise ValueError(
                f"{checkpoint} belongs to another training: its {name} is {saved.get(name)!r}, "
                f"not {wanted.get(name)!r}. Choose another folder or remove that one."
            )
    return state


def read_rows(checkpoint: Path) -> list[Row]:
    """The rows that :func:`write_checkpoint` was given."""
    return [Row(*row) for row in json.loads((checkpoint / _ROWS_FILE).read_text())]
