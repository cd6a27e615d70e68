"""What is found before the first job of a run starts, whatever job it is about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness_toys import BENCHMARK, METHOD, MODEL, REWARD, generate_job

from harness.base.errors import SpecError
from harness.cli import preflight
from harness.experiment.components import MethodSpec, PromptsSpec, SimilaritySpec, TableSpec
from harness.experiment.jobs import (
    AuditJob,
    Job,
    MatchJob,
    PairsJob,
    PretrainJob,
    ScoreJob,
    TableJob,
)
from harness.experiment.validation import to_json

TRAINED = MethodSpec("hyper", "hypernoise.methods.hypernoise:HyperNoise", 1, trains="hypernoise")
PROMPTS = PromptsSpec("harness_toys:prompts")


def scoring(**rewards: Any) -> ScoreJob:
    return ScoreJob(BENCHMARK, rewards, ("yet/to/come.parquet",), "out")


def table(target: str = "harness.analysis.kl_table:kl_table", **arguments: Any) -> TableJob:
    spec = TableSpec("kl", target, 1, arguments, file="kl.smk")
    return TableJob(spec, {"audits": ("yet/to/come.parquet",)}, "out")


def audit(**changes: Any) -> AuditJob:
    job = AuditJob(MODEL, TRAINED, "toy_reward", "yet/to/come", PROMPTS, 1, 7, 1, "out", "work")
    return replace(job, **changes)


def comparing(metric: str, target: str = "harness.similarity.lpips:Lpips") -> PairsJob:
    return PairsJob({metric: SimilaritySpec(target)}, ("yet/to/come.parquet",), "out")


@pytest.mark.parametrize(
    ("job", "fault"),
    [
        (scoring(judge=replace(REWARD, target="harness_toys:ToyGenerator")), "another kind.*score"),
        (scoring(judge=replace(REWARD, target="harness_toys:Rednes")), "'Rednes'.*'Redness'"),
        (scoring(judge=replace(REWARD, arguments={"colour": "red"})), "'colour'"),
        (table(modls=["sd"]), "kl.smk: unknown argument of .*kl_table 'modls'.*'models'"),
        (
            replace(table(), inputs={"scores": ("a.parquet",)}),
            "kl.smk: 'kl' .* with audits",
        ),
        (table("harness.analysis.kl_table:kl"), "'kl'"),
        (audit(options={"probs": 1}), "'probs'"),
        (audit(method=replace(TRAINED, arguments={"merged": 2})), "merged must be .*true or false"),
        (comparing("looks_alike"), "must end in"),
        (comparing("a_distance", "harness_toys:Redness"), "another kind"),
        (MatchJob("folder", "folder", "toy_reward", "out"), "two trainings"),
        (PretrainJob("generator", "tiny_ds", "out"), "recipe .*'tiny_ds'.*'tiny_sd'"),
    ],
)
def test_a_fault_of_any_job_is_found_before_what_it_waits_for(job: Job, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        preflight.check(job)


def test_a_job_whose_network_is_yet_to_be_trained_is_checked_but_for_it(tmp_path: Path) -> None:
    job = generate_job(tmp_path, method=TRAINED, reward=REWARD, adapter="yet/to/come")
    preflight.check(job)
    wrong = replace(TRAINED, arguments={"merged": 3})
    with pytest.raises(SpecError, match="merged must be true or false or a text, got 3"):
        preflight.check(replace(job, method=wrong))


def test_faults_of_all_jobs_are_told_together_each_once(tmp_path: Path) -> None:
    methods = [replace(METHOD, arguments={name: 1}) for name in ("lable", "waits")]
    jobs = [generate_job(tmp_path, method=method) for method in [*methods, METHOD]]
    lines = [f"generate\t{to_json(job)}\n" for job in [*jobs, *jobs]]
    with pytest.raises(SpecError) as caught:
        preflight.run([*lines, "generate\t{}\n"])
    faults = str(caught.value).splitlines()
    assert ["'lable'" in faults[0], "'waits'" in faults[1]] == [True, True]
    assert faults[2].startswith("GenerateJob lacks 'model'")
