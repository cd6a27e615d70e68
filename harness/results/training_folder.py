"""What a finished training's folder holds, for jobs that load no network.

Nothing here, nor anything that this imports, imports torch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

#: Measurements of the training, as frames of the kind "training".
STEPS_FILE = "steps.parquet"
#: A trained network's files; :mod:`hypernoise.networks.adapter`, which writes them, brings torch.
NETWORK_FILES = ("adapter_config.json", "adapter_model.safetensors")
#: Folder of one folder per checkpoint, each with a trained network and nothing else.
CHECKPOINTS = "checkpoints"


def checkpoints_of(training: Path) -> dict[int, Path]:
    """The checkpoints of a finished training by their optimizer step, in its order."""
    found = sorted((training / CHECKPOINTS).glob("step_*"))
    return {int(path.name.removeprefix("step_")): path for path in found}


def network_files(training: str, checkpoint: int | None = None) -> tuple[str, ...]:
    """Paths of the files of a training's result, or of the checkpoint of an optimizer step."""
    folder = Path(training)
    if checkpoint is not None:
        folder = folder / CHECKPOINTS / f"step_{checkpoint:06d}"
    return tuple(str(folder / name) for name in NETWORK_FILES)


def copy_checkpoint(checkpoint: Path, target: Path) -> None:
    """Copy a checkpoint's trained network into a folder, which is made."""
    shutil.copytree(checkpoint, target, dirs_exist_ok=True)
