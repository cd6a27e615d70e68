"""What a finished training's folder holds, for jobs that load no network.

Nothing here, nor anything that this imports, imports torch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

#: Measurements of the training, as frames of the kind "training".
STEPS_FILE = "steps.parquet"
#: Folder of one folder per checkpoint, each with a trained network and nothing else.
CHECKPOINTS = "checkpoints"


def checkpoints_of(training: Path) -> dict[int, Path]:
    """The checkpoints of a finished training by their optimizer step, in its order."""
    found = sorted((training / CHECKPOINTS).glob("step_*"))
    return {int(path.name.removeprefix("step_")): path for path in found}


def copy_checkpoint(checkpoint: Path, target: Path) -> None:
    """Copy a checkpoint's trained network into a folder, which is made."""
    shutil.copytree(checkpoint, target, dirs_exist_ok=True)
