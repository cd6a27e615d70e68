"""Direct fine-tuning stopped where it has earned what the noise network earns.

Trained long enough, fine-tuning gets any reward, and wrecks its images. To compare the two at
equal reward, the fine-tuning's first checkpoint is taken whose validation reward reaches that of
the noise network's kept checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from harness.base.errors import SpecError
from harness.experiment.jobs import MatchJob
from harness.results import frames
from harness.results.results_folder import write_sidecar
from harness.results.training_folder import (
    BESIDE_NETWORK,
    NETWORK_FILES,
    STEPS_FILE,
    checkpoints_of,
    copy_network,
)
from hypernoise.networks.description import read_description

RECORD_FILE = "match.json"
#: What the training loop calls the training reward.
_REWARD = "reward"


@dataclass(frozen=True)
class Match:
    """The chosen checkpoint.

    Attributes:
        step: its optimizer step.
        reward: its mean validation reward.
        target: the mean validation reward of the noise network that its training kept.
        reached: whether any checkpoint has reached the target; else the one that comes nearest is
            taken.
    """

    step: int
    reward: float
    target: float
    reached: bool


def choose(finetune: pd.DataFrame, hypernoise: pd.DataFrame, checkpoints: Collection[int]) -> Match:
    """The first fine-tuning checkpoint that reaches the kept noise network's validation reward.

    Where none does, it is the one of the highest.

    Args:
        finetune: training rows of the fine-tuning.
        hypernoise: training rows of the noise network, on the same reward and validation prompts.
        checkpoints: steps at which the fine-tuning has a checkpoint.

    Raises:
        ValueError: a frame has no validation rewards, or none at a checkpoint.
    """
    target = float(_rewards(hypernoise, "kept", "the noise network").iloc[-1])
    rewards = _rewards(finetune, "validation", "the fine-tuning")
    rewards = rewards[rewards.index.isin(list(checkpoints))]
    if rewards.empty:
        raise ValueError(
            f"the fine-tuning was not validated at any of its checkpoints {sorted(checkpoints)}; "
            "make validate_every and checkpoint_every the same"
        )
    reached = rewards[rewards >= target]
    fitting = reached if len(reached) else rewards[rewards == rewards.max()]
    step = int(fitting.index[0])
    return Match(step, float(rewards[step]), target, reached=len(reached) > 0)


def run(job: MatchJob) -> None:
    """Copy the chosen checkpoint's adapter, and record choice and provenance next to it.

    Raises:
        FileNotFoundError: a frame or the checkpoints are missing.
        ValueError: the trainings are not on the job's reward, or as in :func:`choose`.
    """
    finetune, hypernoise, checkpoints = check(job)
    match = choose(finetune, hypernoise, checkpoints)
    out = Path(job.out)
    chosen = checkpoints[match.step]
    if (told := read_description(chosen)) is None:
        copy_network(chosen, out)
    else:
        # Lazy import: it brings diffusers, and verification reads this module for its rule.
        from harness.build.descriptions import publish

        publish(chosen, out, told, for_diffusers=True)
    text = json.dumps(asdict(match) | {"finetune": job.finetune, "hypernoise": job.hypernoise})
    (out / RECORD_FILE).write_text(text + "\n", encoding="utf-8")
    beside = [name for name in BESIDE_NETWORK if (out / name).is_file()]
    files = [out / name for name in (*NETWORK_FILES, *beside, RECORD_FILE)]
    write_sidecar(out, "match", job, files)
    if not match.reached:
        print(
            f"fine-tuning never reached the validation reward {match.target:.4g}; "
            f"its best checkpoint, step {match.step}, has {match.reward:.4g}"
        )


def check(job: MatchJob) -> tuple[pd.DataFrame, pd.DataFrame, dict[int, Path]]:
    """Read both trainings, and find the checkpoints by their step. Raises as :func:`run`."""
    check_ahead(job)
    finetune = frames.read(Path(job.finetune) / STEPS_FILE, frames.TRAINING)
    hypernoise = frames.read(Path(job.hypernoise) / STEPS_FILE, frames.TRAINING)
    for folder, frame in ((job.finetune, finetune), (job.hypernoise, hypernoise)):
        other = set(frame["reward"]) - {job.reward}
        if other:
            raise ValueError(
                f"{folder} was trained on {', '.join(sorted(other))}, not {job.reward}"
            )
    checkpoints = checkpoints_of(Path(job.finetune))
    if not checkpoints:
        raise FileNotFoundError(f"there are no checkpoints in {job.finetune}")
    return finetune, hypernoise, checkpoints


def check_ahead(job: MatchJob) -> None:
    """Check that there are two trainings to compare, which may be yet to be made."""
    if job.finetune == job.hypernoise:
        raise SpecError(f"{job.finetune} cannot be stopped at its own reward: name two trainings")


def _rewards(frame: pd.DataFrame, kind: str, whose: str) -> pd.Series[float]:
    rows = frame[(frame["kind"] == kind) & (frame["name"] == _REWARD)]
    if rows.empty:
        raise ValueError(f"the training of {whose} has no validation rewards")
    rewards: pd.Series[float] = rows.set_index("step")["value"].sort_index()
    return rewards
