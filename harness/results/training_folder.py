"""What a finished training's folder holds, for jobs that load no network.

Nothing here, nor anything that this imports, imports torch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.base.safe_paths import below
from hypernoise.weights.pins import sha256_of

#: Measurements of the training, as frames of the kind "training".
STEPS_FILE = "steps.parquet"
#: A trained network's files, as :mod:`hypernoise.weights.saved_lora` names them.
NETWORK_FILES = ("adapter_config.json", "adapter_model.safetensors")
#: What may stand beside them: what the network is, and a fine-tuning in diffusers' layout.
BESIDE_NETWORK = ("hypernoise.json", "pytorch_lora_weights.safetensors")
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


def network_hashes(training: Path) -> dict[str, str]:
    """Path in a training's folder -> SHA-256, of its result's and all checkpoints' files.

    What stands beside a network is hashed where it is there.
    """
    folders = [training, *checkpoints_of(training).values()]
    paths = [folder / name for folder in folders for name in NETWORK_FILES]
    beside = (folder / name for folder in folders for name in BESIDE_NETWORK)
    paths += [path for path in beside if path.is_file()]
    return {path.relative_to(training).as_posix(): sha256_of(path) for path in paths}


def copy_network(source: Path, target: Path) -> None:
    """Copy a trained network's two files into a folder, which is made.

    Raises:
        SpecError: a file is a link out of its folder.
    """
    files = below(source, NETWORK_FILES, source)
    target.mkdir(parents=True, exist_ok=True)
    for file, name in zip(files, NETWORK_FILES, strict=True):
        shutil.copyfile(file, target / name)
