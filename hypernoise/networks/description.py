"""What a folder with a trained network says of it: ``hypernoise.json``, beside the weights.

Nothing here imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hypernoise.errors import checked

DESCRIPTION_FILE = "hypernoise.json"
_FORMAT = 1

#: The paper's network, ``"package.module:Class"``; its kinds differ in their loss.
NOISE_NETWORK = "hypernoise.networks.noise_network:NoiseNetwork"
#: Kind -> class of its network.
NETWORKS: Mapping[str, str] = {
    "hypernoise": NOISE_NETWORK,
    "supervised": NOISE_NETWORK,
    "noise_policy": NOISE_NETWORK,
    "lora_finetune": "hypernoise.networks.fine_tuner:FineTuner",
    "low_frequency": "hypernoise.networks.low_frequency:LowFrequencyNetwork",
}


class Description(BaseModel):
    """A trained network, as its folder tells it.

    Attributes:
        format: of the file.
        kind: of network (:data:`hypernoise.training.kinds.KINDS`), and whether it ``moves_noise``
            and leaves the base as it is.
        base: weights that it was trained on: hub repository or folder, as declared.
        revision: commit of the hub's repository; empty for a folder.
        base_lora: file of a LoRA that is fused into them; empty without one.
        base_licence: as the repository names it; empty where it is unknown.
        pipeline: class of the stock pipeline.
        model: name of the declared model, and ``arguments``: those that it was declared with.
        size_px: width and height of the images that it was trained on.
        first_timestep: of the noise pass, where the base's scheduler says it; else None.
        method: that trained it.
        reward: that it was trained on.
        step: optimizer step of these weights.
        steps: optimizer steps of the whole training.
        base_sample: names of layers -> a few of the base's own weights
            (:func:`hypernoise.networks.base_weights.sample`): two models of one shape are told
            apart by them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    format: int = _FORMAT
    kind: str
    moves_noise: bool
    base: str
    revision: str = ""
    base_lora: str = ""
    base_licence: str = ""
    pipeline: str
    model: str = ""
    arguments: dict[str, Any] = {}
    size_px: int = Field(ge=1)
    first_timestep: float | None = None
    method: str = ""
    reward: str = ""
    step: int = Field(default=0, ge=0)
    steps: int = Field(default=0, ge=0)
    base_sample: dict[str, list[float]] = {}

    @property
    def what(self) -> str:
        """What messages call the network."""
        return f"a {'noise network' if self.moves_noise else 'fine-tuning'} ({self.kind})"

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        text = json.dumps(self.model_dump(), indent=1, sort_keys=True)
        (folder / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def read_description(folder: Path) -> Description | None:
    """What a folder says of its network; None if it has no such file, as those of other tools.

    Raises:
        ValueError: the file is not such a description, or of a later format.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(values, dict):
            raise ValueError("it is no object")
        if values.get("format") != _FORMAT:
            raise ValueError(
                f"its format is {values.get('format')!r}; this version reads {_FORMAT}"
            )
        return checked(Description, values, "entry")
    except ValueError as error:
        raise ValueError(f"{path} does not describe a trained network: {error}") from error


def check_kind(folder: Path, kind: str) -> None:
    """Refuse a folder that says that its network is of another class than a kind's.

    Kinds that differ in their loss alone are of one class; folders that say nothing pass.

    Raises:
        ValueError: it is of another class, or as :func:`read_description`.
    """
    found = read_description(folder)
    if found is not None and NETWORKS.get(found.kind, found.kind) != NETWORKS.get(kind, kind):
        raise ValueError(f"{folder} has {found.what}, and a {kind} network is asked for")
