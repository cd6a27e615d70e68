"""What does not change a result's identity, and what does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.experiment import identity
from harness.experiment.components import BenchmarkSpec, MethodSpec, ModelSpec, RewardSpec
from harness.experiment.identity import identity_of, job_hash
from harness.experiment.jobs import GenerateJob, ScoreJob, Timed, TimingJob, TrainJob
from harness.results.provenance import NETWORKS, packages

METHODS = "hypernoise.methods"
MODEL = ModelSpec("sd", "hypernoise.models.unet:SdTurbo", 1, weights="weights", size_px=64)
BENCHMARK = BenchmarkSpec("shapes", "harness_toys:prompts", 1)
REDNESS = RewardSpec("redness", "hypernoise.rewards.redness:Redness", 1)
HYPERNOISE = MethodSpec("hypernoise", f"{METHODS}.hypernoise:HyperNoise", 1, trains="hypernoise")
BEST = MethodSpec(
    "best", f"{METHODS}.best_of_n:BestOfN", 1, {"n": 4, "batch_size": 8}, needs_reward=True
)
RENO = MethodSpec("reno", f"{METHODS}.reno:Reno", 1, {"iterations": 5}, needs_reward=True)
WARM = replace(HYPERNOISE, name="warm", target=f"{METHODS}.warm_start:WarmStart", searcher=RENO)


def generating(method: MethodSpec, **changes: Any) -> GenerateJob:
    job = GenerateJob(MODEL, method, REDNESS, BENCHMARK, 1, 7, 32, "trained", "out", "work")
    return replace(job, **changes)


def with_argument(method: MethodSpec, **arguments: Any) -> MethodSpec:
    return replace(method, arguments={**method.arguments, **arguments})


def timing(method: MethodSpec, threads: int = 1) -> TimingJob:
    timed = (Timed(method, "trained"),)
    return TimingJob(MODEL, timed, BENCHMARK, "out", threads=threads)


def test_merging_a_network_makes_no_other_images() -> None:
    ways = [with_argument(HYPERNOISE, merged=merged) for merged in (False, True, "per_layer")]
    hashes = {job_hash(generating(method)) for method in [HYPERNOISE, *ways]}
    assert len(hashes) == 1


def test_a_killed_job_is_not_continued_by_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    job, here = generating(HYPERNOISE), packages()
    hashes = {job_hash(job)}
    for name in NETWORKS:
        monkeypatch.setattr(identity, "packages", lambda name=name: here | {name: "0.0"})
        hashes.add(job_hash(job))
    assert len(hashes) == 1 + len(NETWORKS)
    # What only holds tables says nothing about images.
    monkeypatch.setattr(identity, "packages", lambda: here | {"pandas": "0.0"})
    assert job_hash(job) in hashes


def test_threads_and_places_do_not_count() -> None:
    job = generating(HYPERNOISE)
    moved = replace(
        job,
        threads=8,
        out="o",
        work="w",
        adapter="elsewhere",
        model=replace(MODEL, file="other.smk", encodings="folder"),
    )
    assert identity_of(moved) == identity_of(job)


def test_the_module_that_a_class_lives_in_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moved_methods.py").write_text("class BestOfN:\n    def __init__(self, n): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = replace(BEST, arguments={"n": 4})
    moved = replace(before, target="moved_methods:BestOfN")
    assert job_hash(generating(moved)) == job_hash(generating(before))
    elsewhere = replace(BENCHMARK, arguments={"of": "harness.prompts:balanced"})
    here = replace(BENCHMARK, arguments={"of": "harness.benchmarks.prompts:balanced"})
    other = replace(BENCHMARK, arguments={"of": "harness.prompts:all_of_them"})
    hashes = [job_hash(generating(BEST, benchmark=one)) for one in (elsewhere, here, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_batch_size_of_a_method_without_gradients_does_not_count() -> None:
    for method in (HYPERNOISE, BEST):
        assert job_hash(generating(method, batch_size=8)) == job_hash(generating(method))
    drawn = with_argument(BEST, batch_size=64)
    assert job_hash(generating(drawn)) == job_hash(generating(BEST))


def test_the_batch_size_of_a_search_along_gradients_counts() -> None:
    for method in (RENO, with_argument(RENO, white_gradient=True), WARM):
        assert job_hash(generating(method, batch_size=8)) != job_hash(generating(method))


def test_arguments_versions_and_seeds_count() -> None:
    job = generating(BEST)
    others = [
        generating(with_argument(BEST, n=5)),
        generating(replace(BEST, version=2)),
        replace(job, model=replace(MODEL, version=2)),
        replace(job, model=replace(MODEL, arguments={"vae_savings": ["tiling"]})),
        replace(job, steps=2),
        replace(job, seed=8),
    ]
    hashes = {job_hash(other) for other in [job, *others]}
    assert len(hashes) == 1 + len(others)
    assert job_hash(job, prompts=[("a", "b")]) not in hashes


def test_a_training_is_the_same_with_less_memory_but_not_with_another_rank() -> None:
    def training(**options: Any) -> str:
        prompts = BENCHMARK.prompts
        given = {"steps": 4, **options}
        return job_hash(TrainJob(MODEL, HYPERNOISE, REDNESS, prompts, prompts, given, "o", "w"))

    assert training() == training(gradient_checkpointing=True) == training(sync_every=1)
    assert training() != training(rank=4)


def test_scores_do_not_depend_on_how_many_images_are_scored_together() -> None:
    job = ScoreJob(BENCHMARK, {"train_reward": REDNESS}, ("a.parquet",), "out")
    assert job_hash(replace(job, batch_size=2)) == job_hash(job)
    assert job_hash(replace(job, swap="any")) != job_hash(job)


def test_whoever_judges_images_changes_scores_and_no_image() -> None:
    class_name = "harness.benchmarks.geneval2:GenEval2"
    prompts = {"target": "harness_toys:texts", "of": ["a fox"]}
    judged = [
        replace(BENCHMARK, target=class_name, arguments={"prompts": prompts, "answerer": answerer})
        for answerer in ({"target": "harness.benchmarks.vlm:Vlm"}, {"target": "harness_toys:Other"})
    ]
    assert len({job_hash(generating(BEST, benchmark=one)) for one in judged}) == 1
    scoring = ScoreJob(judged[0], {}, ("a.parquet",), "out")
    assert job_hash(scoring) != job_hash(replace(scoring, benchmark=judged[1]))


def test_what_changes_speed_only_counts_where_speed_is_measured() -> None:
    merged = with_argument(HYPERNOISE, merged=True)
    hashes = {job_hash(job) for job in (timing(HYPERNOISE), timing(merged), timing(merged, 2))}
    assert len(hashes) == 3


def test_identities_are_told_without_torch() -> None:
    code = (
        "import sys\n"
        "from harness.experiment.components import MethodSpec\n"
        "from harness.experiment.identity import batch_size_counts, identity_of\n"
        "method = MethodSpec('reno', 'hypernoise.methods.reno:Reno', 1)\n"
        "assert batch_size_counts(method) and identity_of(method)\n"
        "assert not {'torch', 'pandas', 'numpy'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
