"""Validation trials: what was tried, what each trial earned, and which setting that chooses.

A training keeps its checkpoint by the validation reward, whatever is trained. Settings are chosen
by the benchmark's mean on the kept checkpoint's images of the validation prompts, from other noise,
or by the reward: fine-tuning gets any reward if it is let, so that one alone would choose how to
hack it. Both choices are shown; one of them is made, for every kind of network alike. A search has
no training: its images of the validation prompts tell its benchmark and its reward.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from harness.analysis.columns import Column, described
from harness.analysis.costs import BACKWARD_PASSES, NFE, REWARD_CALLS
from harness.analysis.gains import (
    CORRECT,
    TRAIN,
    correct,
    lay_out,
    metrics_of,
    scored,
    stem_of,
    tabulate,
)
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import FrameError, require, stop_on
from harness.results.frames import NO_SEED

#: Model -> method of a trial -> ``kind`` of network or name of the search, ``options`` of the
#: setting, ``seed``, and of networks ``training``, the name of the training that it draws on.
Trials = Mapping[str, Mapping[str, Mapping[str, Any]]]
#: Model -> kind of network or search -> options of the config's own.
Configured = Mapping[str, Mapping[str, Mapping[str, Any]]]


def tuning(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    training: pd.DataFrame,
    *,
    trials: Trials,
    configured: Configured,
    criterion: Literal["benchmark", "reward"],
    baseline: str = "base",
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every trial: what was tried, and what it earned on the validation prompts.

    Args:
        scores: score rows of the trials' images of validation prompts, and of the baseline's.
        images: the rows of these images.
        training: the rows of the trials' trainings.
        trials: what was tried.
        configured: what the config's own trainings have.
        criterion: what chooses: the benchmark's mean, or the validation reward.
        baseline: the method that gains are measured against, image by image.
        metric, judges: as for :func:`harness.analysis.gains.metrics_of`.

    Returns:
        Per model a row for the baseline and one for each trial, by kind of network and setting:
        what identifies it, kind (of network, or the search), setting (number of the setting within
        its kind), training_seed, a column ``option_<name>`` for every option that is tried,
        kept_step, validation_reward (of the kept checkpoint, on the noise that it was kept by; of a
        search, the mean of its images) and a network's standard error of it, what an image cost,
        the benchmark's mean, its gain and the rewards' means on the images of that checkpoint;
        ``best_by_benchmark`` and
        ``best_by_reward``, whether the mean over seeds of its setting is the highest of its kind,
        and ``is_chosen``, that of the criterion. Notes say what was chosen, as layers of a config,
        and where the config has something else.

    Raises:
        FrameError: there are no trials, or a method, a score or a training is missing.
    """
    if not any(trials.values()):
        raise FrameError("tuning: there are no trials; config section 'tuning' declares them")
    require(training, ("model", "method", "kind", "step", "name", "value"), "training")
    require(images, ("reward_calls", "backward_passes"), "images")
    metrics = metrics_of(scores, metric, judges)
    methods = dict.fromkeys(method for own in trials.values() for method in own)
    shown = (list(trials), [baseline, *methods])
    paired, faults = lay_out(scores, metrics, *shown, images, baseline)
    kept: dict[tuple[str, str], dict[str, float]] = {}
    of_training = dict(iter(training[training["kind"] == "kept"].groupby(["model", "method"])))
    trained = [(m, t) for m, own in trials.items() for t, one in own.items() if "training" in one]
    for model, method in trained:
        name = trials[model][method]["training"]
        rows = of_training.get((model, name))
        if rows is None or "reward" not in set(rows["name"]):
            faults.append(f"{model}: the training {name!r} has no kept reward")
            continue
        values = dict(zip(rows["name"], rows["value"].astype(float), strict=True))
        kept[model, method] = {**values, "step": int(rows["step"].iloc[0])}
    stop_on(faults, "tuning")
    columns = [*trial_columns(trials, kept), NFE, REWARD_CALLS, BACKWARD_PASSES]
    columns += scored(metrics, gain=True)
    table = correct(tabulate(paired, columns, baseline, {"images": images}), baseline)
    table = in_order(table, ("model", "kind", "setting", "training_seed"), list(trials))
    key = ["model", "kind", "setting"]
    tried = table[table["kind"] != ""].groupby(key, sort=True)
    by = {"benchmark": f"{stem_of(metric)}_mean", "reward": "validation_reward"}
    for name, column in by.items():
        best = set(tried[column].mean().groupby(level=["model", "kind"]).idxmax())
        table[f"best_by_{name}"] = [tuple(row) in best for row in table[key].to_numpy().tolist()]
    table["is_chosen"] = table[f"best_by_{criterion}"]
    table.attrs["columns"] = described(columns)
    table.attrs["notes"] = _notes(_chosen(table, trials, configured, criterion), criterion)
    return table


def chosen(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    training: pd.DataFrame,
    *,
    trials: Trials,
    configured: Configured,
    criterion: Literal["benchmark", "reward"],
    baseline: str = "base",
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What the trials choose, option by option, beside what the config has.

    Arguments and errors as for :func:`tuning`.

    Returns:
        One row per model, kind of network or search, and option: the config's section (``training``
        of networks, ``arguments`` of searches) and the layer of it that would hold the option,
        by_benchmark, by_reward, chosen and configured, each as JSON, and agrees.
    """
    table = tuning(
        scores,
        images,
        training,
        trials=trials,
        configured=configured,
        criterion=criterion,
        baseline=baseline,
        metric=metric,
        judges=judges,
    )
    rows = pd.DataFrame(_chosen(table, trials, configured, criterion))
    rows.attrs["notes"] = table.attrs["notes"]
    return rows


def trial_columns(
    trials: Trials, kept: Mapping[tuple[str, str], Mapping[str, float]]
) -> list[Column]:
    """The columns of what was tried; a setting has a number within its kind, from 1."""
    numbers: dict[tuple[str, str], int] = {}
    options: dict[str, None] = {}
    for trial in next(iter(trials.values())).values():
        own = trial["kind"], _text(trial["options"])
        numbers.setdefault(own, 1 + sum(kind == own[0] for kind, _ in numbers))
        options |= dict.fromkeys(trial["options"])

    def trial_of(cell: Any) -> Mapping[str, Any]:
        return trials[cell.identity("model")].get(cell.identity("method"), {})

    def number(cell: Any) -> int:
        trial = trial_of(cell)
        return numbers[trial["kind"], _text(trial["options"])] if trial else 0

    def option(name: str) -> Column:
        def of(cell: Any) -> str:
            tried = trial_of(cell).get("options", {})
            return str(_text(tried[name])) if name in tried else ""

        return Column(f"option_{name}", of, "option that is tried, as JSON")

    def measured(name: str) -> Any:
        def of(cell: Any) -> float:
            own = kept.get((cell.identity("model"), cell.identity("method")), {})
            return float(own.get(name, np.nan))

        return of

    def reward(cell: Any) -> float:
        trial = trial_of(cell)
        is_search = bool(trial) and "training" not in trial
        return float(cell.mean(TRAIN).mean) if is_search else measured("reward")(cell)

    def seed(cell: Any) -> int:
        own = trial_of(cell).get("seed")
        return NO_SEED if own is None else int(own)

    return [
        Column("kind", lambda c: trial_of(c).get("kind", ""), "kind of network, or the search"),
        Column("setting", number, "number of the setting within its kind"),
        Column("training_seed", seed, "-1 for what trains nothing"),
        *map(option, options),
        Column("kept_step", measured("step"), "optimizer steps of the kept checkpoint"),
        Column("validation_reward", reward, "that the checkpoint was kept by, or of the images"),
        Column("validation_reward_se", measured("reward_se"), "its standard error over prompts"),
    ]


def _chosen(
    table: pd.DataFrame, trials: Trials, configured: Configured, criterion: str
) -> list[dict[str, Any]]:
    rows = []
    for model, own in trials.items():
        ours = table[table["model"] == model]
        for kind in dict.fromkeys(trial["kind"] for trial in own.values()):
            of_kind = ours[ours["kind"] == kind]
            of = [trial for trial in own.values() if trial["kind"] == kind]
            by = {
                name: own[str(of_kind.loc[of_kind[f"best_by_{name}"], "method"].iloc[0])]["options"]
                for name in ("benchmark", "reward")
            }
            for option, value in by[criterion].items():
                has = configured[model][kind][option]
                found = {f"by_{name}": _text(setting[option]) for name, setting in by.items()}
                found |= {"chosen": _text(value), "configured": _text(has)}
                section = "training" if any("training" in t for t in of) else "arguments"
                layer = {"model": model, "kind": kind, "section": section}
                layer |= {"layer": f"{model} {kind}"}
                rows.append({**layer, "option": option, **found, "agrees": value == has})
    return rows


def _notes(rows: Sequence[Mapping[str, Any]], criterion: str) -> tuple[str, ...]:
    """What was chosen and by what, and where the config has something else."""
    said = {
        "benchmark": "the benchmark's mean on the validation prompts",
        "reward": "the validation reward of the kept checkpoint, or of a search's images",
    }
    layers: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        own = layers.setdefault((row["section"], row["layer"]), [])
        own.append(f"{row['option']}: {row['chosen']}")
    texts: dict[str, list[str]] = {}
    for (section, layer), options in layers.items():
        texts.setdefault(section, []).append(f"{layer}: {{ {', '.join(options)} }}")
    differing = [
        f"The config's options are not those chosen: {row['layer']} has {row['option']} "
        f"{row['configured']}, chosen is {row['chosen']}."
        for row in rows
        if not row["agrees"]
    ]
    return (
        f"Settings are chosen by {said[criterion]}, of every kind of network and search alike, as "
        "the mean over training seeds; what the other criterion would choose is shown. Validation "
        "prompts chose checkpoint and setting, so these numbers are no results.",
        *(differing or ["The config's options are those chosen."]),
        *(
            f"Chosen, as layers of the config's section {section!r}: {'; '.join(of)}"
            for section, of in texts.items()
        ),
    )


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
