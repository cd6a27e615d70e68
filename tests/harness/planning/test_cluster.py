"""What jobs ask a cluster for, and what the profiles of clusters plan."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from experiments import load
from paths import REPOSITORY
from snakemake_runs import run_snakemake

from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.planning.cluster import Cluster

FLUX, SANA = "flux_schnell", "sana_sprint_0_6b"
REWARD = "human_preference"
PROFILES = REPOSITORY / "workflows" / "profiles"


class Wildcards(SimpleNamespace):
    """As Snakemake gives them."""

    def items(self) -> Any:
        return vars(self).items()


@pytest.fixture(scope="module")
def paper() -> Cluster:
    registry = declared(REPOSITORY / "workflows")
    return Cluster(Experiment(read(load("paper.yaml"), "paper.yaml"), registry, "paper.yaml"))


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def images(method: str, model: str = FLUX) -> dict[str, Any]:
    reward = "none" if method == "base" else REWARD
    return {
        **{"benchmark": "geneval", "model": model, "method": method, "reward": reward},
        "steps": 4 if model == FLUX else 1,
    }


def asked(
    cluster: Cluster, rule: str, wildcards: Mapping[str, Any], attempt: int
) -> dict[str, Any]:
    found = cluster.resources(rule, 1)
    own = Wildcards(**{key: str(value) for key, value in wildcards.items()})
    return {
        key: v(own, attempt) if callable(v) else v for key, v in found.items() if key != "local_gpu"
    }


def test_minutes_grow_with_what_a_method_does_and_hold_the_plans_hours(paper: Cluster) -> None:
    base, reno = (paper.asked("generate", images(m), on_gpu=True) for m in ("base", "reno"))
    assert base.minutes < 120
    planned = paper.work("generate", images("reno")).speed.seconds
    assert planned is not None and planned > 20 * 3600
    assert reno.minutes * 60 > planned


def test_memory_holds_the_weights_that_a_job_loads_and_gpus_their_activations(
    paper: Cluster,
) -> None:
    flux, sana = (paper.asked("generate", images("base", m), True) for m in (FLUX, SANA))
    # 24 GB of transformer and 9.5 GB of T5, in bfloat16.
    assert flux.mem_mb > 33_000 > sana.mem_mb
    assert flux.gpu_mem_mb > 33_000
    climbed = paper.asked("generate", images("reno", SANA), True)
    assert climbed.gpu_mem_mb > sana.gpu_mem_mb and climbed.mem_mb > sana.mem_mb


def test_every_try_asks_for_more_and_a_timing_for_a_node_to_itself(paper: Cluster) -> None:
    first, third = (asked(paper, "generate", images("reno"), attempt) for attempt in (1, 3))
    for name in ("mem_mb", "gpu_mem_mb", "runtime"):
        assert third[name] == 3 * first[name] > 0
    assert first["gpu"] == third["gpu"] == 1
    timing = asked(paper, "profile", {"image_set": "main", "model": SANA}, 1)
    assert timing["slurm_extra"] == "--exclusive"
    assert "slurm_extra" not in first


@pytest.mark.parametrize(
    ("rule", "wildcards"),
    [
        ("train", {"model": SANA, "reward": REWARD, "training": "hypernoise"}),
        ("train", {"model": FLUX, "reward": REWARD, "training": "lora_finetune"}),
        ("score", {"image_set": "main", "model": SANA}),
        ("audit_network", {"model": SANA, "reward": REWARD, "method": "hypernoise"}),
        ("match", {"model": SANA, "reward": REWARD, "method": "lora_finetune"}),
        ("pretrain", {"model": "tiny_sd"}),
    ],
)
def test_every_kind_of_job_asks_for_something(
    paper: Cluster, rule: str, wildcards: dict[str, str]
) -> None:
    found = asked(paper, rule, wildcards, 1)
    assert found["gpu"] == 1 and found["runtime"] >= 60
    assert 4_000 < found["mem_mb"] < 200_000


def test_on_this_machine_only_its_gpus_are_shared_out(paper: Cluster) -> None:
    here, run = Cluster(paper.experiment, lambda: True), images("base")
    of_both = [one.resources("generate", 2) for one in (here, paper)]
    given = Wildcards(**{key: str(value) for key, value in run.items()})
    assert [found["gpu"] for found in of_both] == [2, 2]
    assert [found["local_gpu"](given) for found in of_both] == [2, 0]
    assert of_both[0]["mem_mb"](given, attempt=1) == 0 < of_both[1]["mem_mb"](given, attempt=1)
    assert "gpu" not in here.resources("generate", 0)


def test_a_table_asks_for_memory_by_the_images_that_it_is_made_of(paper: Cluster) -> None:
    resources = paper.of_table(paper.experiment.tables["table1"])
    assert 4_100 < resources["mem_mb"](SimpleNamespace(), attempt=1) < 16_000


def test_the_limit_of_this_machines_gpus_is_no_limit_of_a_cluster() -> None:
    # Snakemake applies the default profile on top of any other.
    of_default = yaml.safe_load((REPOSITORY / "profiles/default/config.yaml").read_text())
    assert of_default["resources"] == ["local_gpu=1"]
    for profile in sorted(PROFILES.glob("*/config.yaml")):
        given = yaml.safe_load(profile.read_text())
        assert "resources" not in given and given["keep-going"] and given["retries"] == 2


def test_the_slurm_profile_plans_the_timings_too(tmp_path: Any) -> None:
    profile = str(PROFILES / "slurm")
    done = run_snakemake(REPOSITORY, "-n", "latency", "--profile", profile, "--no-hooks")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "profile" in done.stdout
