"""The KL terms that a training drops, at its checkpoints, and a table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from harness.analysis.interval_columns import columns_of, in_order, with_interval
from harness.analysis.pairing import choose, missing, rank, require, stop_on
from harness.analysis.statistics import NO_INTERVAL, mean_interval
from harness.base.import_strings import unknown
from harness.build.components import (
    build_generator,
    check_adapter,
    check_weights,
    default_device,
    load_prompts,
    prompt_texts,
    weight_paths,
)
from harness.experiment.components import SpecError
from harness.experiment.jobs import AuditJob, job_hash
from harness.results import frames
from harness.results.resume import Work
from harness.results.training_folder import STEPS_FILE, checkpoints_of
from hypernoise.models.protocol import Conditioning, Generator, encode_in_chunks
from hypernoise.networks import kinds
from hypernoise.networks.kl_audit import Audit, AuditOptions, audit, dropped_bound
from hypernoise.noise import image_noise, image_seed
from hypernoise.progress import Progress

_TERMS = ("half_squared_norm", "inner_product", "trace", "log_abs_det", "dropped", "kl")
_ERRORS = ("trace_se", "log_abs_det_se", "dropped_se")
_NETWORK = ("model", "method", "reward", "step")
_INTERVALS = ("half_squared_norm_nats", "dropped_nats", "kl_nats")

TABLE_COLUMNS = (
    *_NETWORK,
    "is_kept",
    "temperature",
    "n_images",
    *(column for name in _INTERVALS for column in with_interval(name)),
    "dropped_se_nats",
    "trace_nats",
    "log_abs_det_nats",
    "largest_singular_value",
    "largest_singular_value_median",
    "share_above_1",
    "bound_nats",
    "bound_holds",
    "smallest_singular_value",
    "n_reversed",
    "n_singular",
    "n_sign_unknown",
)


@runtime_checkable
class _NoiseNetwork(Protocol):
    generator: Generator

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor: ...


@dataclass(frozen=True)
class Plan:
    """A checked job: checkpoints by their step, the kept step, prompts, and what is done."""

    checkpoints: Mapping[int, Path]
    kept: int
    prompts: Sequence[Any]
    options: AuditOptions


def run(job: AuditJob) -> None:
    """Audit checkpoints on every prompt and noise; a killed job goes on where it was.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first), or a
            displacement is not finite.
    """
    torch.set_num_threads(job.threads)
    plan = check(job)
    texts = prompt_texts(plan.prompts)
    inputs = [*weight_paths(job.model), *map(str, plan.checkpoints.values())]
    work = Work(job.work, job_hash(job, inputs, texts))
    done = {(row["step"], row["prompt_id"], row["image_index"]): row for row in work.rows()}
    total = len(plan.checkpoints) * len(plan.prompts) * job.n_images
    name = f"audit {job.model.name} {job.method.name}"
    with Progress(name, total, "noises", len(done)) as progress:
        for step, folder in plan.checkpoints.items():
            for row in _audit_checkpoint(job, plan, step, folder, done):
                work.add([row])
                done[row["step"], row["prompt_id"], row["image_index"]] = row
                progress.update()
    rows = pd.DataFrame(list(done.values()), columns=frames.AUDITS.names)
    # A column that is nowhere known is no number to pandas.
    unknowns = rows.astype({"sign": "float64", "bound_nats": "float64"})
    frames.write(unknowns.sort_values(list(frames.AUDITS.key)), job.out, frames.AUDITS, job)
    work.remove()


def check(job: AuditJob) -> Plan:
    """Check a job without loading any network.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    options = _options(job)
    check_weights(job.model)
    prompts = load_prompts(job.prompts)
    training = Path(job.training)
    rows = frames.read(training / STEPS_FILE, frames.TRAINING)
    kept = int(rows.loc[rows["kind"] == "kept", "step"].iloc[0])
    saved = checkpoints_of(training)
    if kept not in saved:
        raise FileNotFoundError(f"{training} kept step {kept}, whose checkpoint is missing")
    for folder in saved.values():
        check_adapter(job.method, str(folder))
    steps = sorted({kept, *spread(list(saved), job.checkpoints)})
    return Plan({step: saved[step] for step in steps}, kept, prompts, options)


def spread(items: Sequence[int], n: int) -> list[int]:
    """At most ``n`` of some items, evenly from the first to the last; one alone is the last."""
    chosen = np.linspace(len(items) - 1, 0, min(n, len(items))).round().astype(int)
    return [items[index] for index in sorted(set(chosen.tolist()))]


def _options(job: AuditJob) -> AuditOptions:
    known = AuditOptions.__dataclass_fields__
    for name in job.options:
        if name not in known:
            raise unknown("audit option", name, known)
    return AuditOptions(**job.options)


def _audit_checkpoint(
    job: AuditJob, plan: Plan, step: int, folder: Path, done: Mapping[tuple[Any, ...], Any]
) -> Any:
    wanted = [
        (row, prompt, index)
        for row, prompt in enumerate(plan.prompts)
        for index in range(job.n_images)
        if (step, prompt.prompt_id, index) not in done
    ]
    if not wanted:
        return
    generator = build_generator(job.model, default_device())
    network = kinds.load(str(job.method.trains), generator, folder)
    if not isinstance(network, _NoiseNetwork):
        raise SpecError(f"method {job.method.name!r} does not move noise: nothing to audit")
    conditioning = _in_precision(job, generator, plan)
    for row, prompt, index in wanted:
        measured = _audit_noise(job, plan, network, conditioning.rows([row]), prompt, index)
        yield _row(job, step, step == plan.kept, prompt, index, measured)


def _in_precision(job: AuditJob, generator: Generator, plan: Plan) -> Conditioning:
    """Encoded prompts, and the network, LoRA included, in the job's precision."""
    texts = [text for _, text in prompt_texts(plan.prompts)]
    conditioning = encode_in_chunks(generator.encode, texts).to(default_device())
    if job.precision == "float32":
        return conditioning
    generator.backbone.double()
    tensors = conditioning.tensors.items()
    doubled = {n: t.double() if t.is_floating_point() else t for n, t in tensors}
    return replace(conditioning, tensors=doubled)


def _audit_noise(
    job: AuditJob,
    plan: Plan,
    network: _NoiseNetwork,
    conditioning: Conditioning,
    prompt: Any,
    index: int,
) -> Audit:
    def displacement(noise: Tensor) -> Tensor:
        return network.delta(noise, conditioning.rows([0] * len(noise)))

    who = (job.seed, prompt.prompt_id, index)
    noise = image_noise(*who, network.generator.noise_shape).to(
        default_device(), getattr(torch, job.precision)
    )
    return audit(displacement, noise, plan.options, image_seed(*who, "audit"))


def _row(
    job: AuditJob, step: int, is_kept: bool, prompt: Any, index: int, measured: Audit
) -> dict[str, Any]:
    nats = {f"{name}_nats": getattr(measured, name) for name in (*_TERMS, *_ERRORS)}
    return {
        "model": job.model.name,
        "method": job.method.name,
        "reward": job.reward,
        "step": step,
        "is_kept": is_kept,
        "prompt_id": prompt.prompt_id,
        "task": prompt.task,
        "image_index": index,
        "seed": job.seed,
        "n_dimensions": measured.n_dimensions,
        "exact": measured.exact,
        **nats,
        "sign": measured.sign,
        "largest_singular_value": measured.largest_singular_value,
        "smallest_singular_value": measured.smallest_singular_value,
        "bound_nats": measured.bound,
    }


def table(
    audits: pd.DataFrame,
    *,
    temperatures: Mapping[str, Mapping[str, tuple[float, str]]] | None = None,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The KL of noise networks over their training, term by term, and theorem 1's premise.

    Args:
        audits: audit rows.
        temperatures: model -> method -> (temperature, L2 reduction) of its training.
        models, methods: what to show, in this order; all by name if None.

    Returns:
        One row per model, method, reward and step, with :data:`TABLE_COLUMNS`. Terms are means
        over images, in nats, with 95 % intervals clustered by prompt. ``temperature`` is that of
        the sum over dimensions, whatever the training used (1 / d of it for the mean).
        ``largest_singular_value`` is the largest over images: L of theorem 1 from below;
        ``share_above_1`` the share of images where it is 1 or more; ``bound_nats`` the theorem's
        bound for that L, missing for L >= 1; ``bound_holds`` whether there is a bound and the
        mean |dropped| is within it. ``dropped_se_nats`` is the mean's error from random probes
        alone. ``n_reversed`` counts images with det(I + J) < 0, which make the formula a lower
        bound of the KL.

    Raises:
        FrameError: a column is missing, or an asked-for model or method has no rows.
    """
    require(audits, frames.AUDITS.names, "audits")
    stop_on(missing(audits, models, methods), "audit")
    rows = choose(audits, models, methods)
    found = pd.DataFrame(
        [
            dict(zip(_NETWORK, key, strict=True)) | _summary(group, temperatures or {})
            for key, group in rows.groupby(list(_NETWORK), sort=True)
        ]
    )
    order = [rank(found["model"], models), rank(found["method"], methods), found["reward"]]
    return in_order(found, [*order, found["step"]])[list(TABLE_COLUMNS)]


def _summary(
    rows: pd.DataFrame, temperatures: Mapping[str, Mapping[str, tuple[float, str]]]
) -> dict[str, Any]:
    largest = float(rows["largest_singular_value"].max())
    bound = dropped_bound(int(rows["n_dimensions"].iloc[0]), largest)
    dropped = float(rows["dropped_nats"].abs().mean())
    means = {name: value for term in _INTERVALS for name, value in _mean(rows, term).items()}
    return means | {
        "is_kept": bool(rows["is_kept"].iloc[0]),
        "temperature": _temperature(rows.iloc[0], temperatures),
        "n_images": len(rows),
        "dropped_se_nats": float(np.sqrt(rows["dropped_se_nats"].pow(2).sum()) / len(rows)),
        "trace_nats": float(rows["trace_nats"].mean()),
        "log_abs_det_nats": float(rows["log_abs_det_nats"].mean()),
        "largest_singular_value": largest,
        "largest_singular_value_median": float(rows["largest_singular_value"].median()),
        "share_above_1": float((rows["largest_singular_value"] >= 1).mean()),
        "bound_nats": np.nan if bound is None else bound,
        "bound_holds": bound is not None and dropped <= bound,
        "smallest_singular_value": float(rows["smallest_singular_value"].min()),
        "n_reversed": int((rows["sign"] < 0).sum()),
        "n_singular": int((rows["sign"] == 0).sum()),
        "n_sign_unknown": int(rows["sign"].isna().sum()),
    }


def _mean(rows: pd.DataFrame, term: str) -> dict[str, float]:
    values = rows[term]
    if not np.isfinite(values).all():
        # A singular I + J: the mean is infinite, and has no interval.
        return columns_of(NO_INTERVAL._replace(mean=float(values.mean())), term)
    return columns_of(mean_interval(values.to_numpy(), rows["prompt_id"].to_numpy()), term)


def _temperature(
    row: pd.Series[Any], temperatures: Mapping[str, Mapping[str, tuple[float, str]]]
) -> float:
    given = temperatures.get(row["model"], {}).get(row["method"])
    if given is None:
        return float("nan")
    value, reduction = given
    return value / row["n_dimensions"] if reduction == "mean" else value
