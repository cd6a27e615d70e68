"""Shards of a method's images: cut at batches, joined to what the whole job makes."""

from __future__ import annotations

import filecmp
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from experiments import LEAST, load
from micro_runs import prepared
from paths import REPOSITORY
from snakemake_runs import run_snakemake

from harness.base.errors import SpecError
from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.cuts import shard_of
from harness.experiment.identity import identity_of
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.planning.cluster import FILE, Cluster
from harness.results import frames
from harness.stages import generate, image_shards

#: Two images of six prompts, in batches that no prompt's images and no shard fill evenly.
RUN = {"benchmark": "micro", "model": "tiny_sana", "method": "best_of_n", "reward": "matcher"}
CONFIG = {**LEAST, "models": ["tiny_sana"], "methods": ["best_of_n"], "batch_size": 5}
CONFIG |= {"arguments": {"best_of_n": {"n": 3}}, "reward": "matcher"}
FRAME = Path("results/images/micro/tiny_sana/best_of_n/matcher/steps1/images.parquet")


class Wildcards(SimpleNamespace):
    """As Snakemake gives them."""

    def items(self) -> Any:
        return vars(self).items()


@pytest.mark.parametrize(("n", "batch_size", "of"), [(12, 5, 3), (12, 5, 2), (7, 2, 4), (5, 1, 5)])
def test_shards_are_all_batches_once_and_in_order(n: int, batch_size: int, of: int) -> None:
    items = list(range(n))
    shards = [list(shard_of(items, f"{k}/{of}", batch_size)) for k in range(1, of + 1)]
    assert [item for shard in shards for item in shard] == items and all(shards)
    assert all(shard[0] % batch_size == 0 for shard in shards)
    assert shard_of(items, "") == items


@pytest.mark.parametrize("wrong", ["4/3", "0/3", "1-of-3", "1/4"])
def test_what_is_no_shard_of_three_batches_is_refused(wrong: str) -> None:
    with pytest.raises(SpecError, match="shard"):
        shard_of(range(12), wrong, 5)


def test_the_plan_cuts_what_takes_over_two_hours_and_keeps_the_cut_of_what_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(REPOSITORY)
    config = {**load("paper.yaml"), "shards": "auto"}
    paper = Experiment(read(config, "paper.yaml"), declared(REPOSITORY / "workflows"), "paper.yaml")
    run = {"benchmark": "geneval", "model": "flux_schnell", "steps": 4}
    reno = {**run, "method": "reno", "reward": "human_preference"}
    base = {**run, "method": "base", "reward": "none"}
    cluster = Cluster(paper)
    assert cluster.n_shards(base) == 1
    n = cluster.n_shards(reno)
    assert 12 <= n <= 14
    each = {**reno, "shard": "1", "shards": str(n)}
    assert cluster.asked("generate", each, True).minutes <= 20 + 1.5 * 120
    made = Cluster(paper, recorded=lambda file: ["adapter", f"a/1-of-2/{FILE}", f"a/2-of-2/{FILE}"])
    assert made.n_shards(reno) == made.n_shards(base) == 2


def test_joined_shards_are_the_whole_jobs_images_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = prepared(tmp_path)
    shipped = load("tiny.yaml") | CONFIG
    (whole := tmp_path / "whole").mkdir()
    for name in ("hypernoise", "workflows"):
        (whole / name).symlink_to(tmp_path / name)
    experiment = Experiment(read({**shipped, "shards": 3}, "cut.yaml"), registry, "cut.yaml")
    cluster, run = Cluster(experiment), {**RUN, "steps": "1"}
    monkeypatch.chdir(tmp_path)
    job = Planned(experiment).generate(**RUN, steps=1)
    for shard in ("1", "2", "3"):
        own = Wildcards(**run, shard=shard, shards="3")
        generate.run(cluster.cut(job, own))
    generate.run(cluster.cut(job, Wildcards(**run)))
    monkeypatch.chdir(whole)
    generate.run(job)
    cut, one = tmp_path / FRAME.parent, whole / FRAME.parent
    names = sorted(path.name for path in (one / "png").iterdir())
    assert len(names) == 12 == len(list((cut / "png").iterdir()))
    assert filecmp.cmpfiles(one / "png", cut / "png", names, shallow=False) == (names, [], [])
    for file, kind in (("images.parquet", frames.IMAGES), ("trajectories.parquet", "trajectories")):
        pd.testing.assert_frame_equal(frames.read(one / file, kind), frames.read(cut / file, kind))
    told, alone = (frames.read_provenance(f / "images.parquet") for f in (cut, one))
    assert len(told["shards"]) == 3 and told["cut_prompts"] == alone["cut_prompts"]
    assert told["weights"] == alone["weights"] and told["hardware"] == alone["hardware"]
    assert identity_of(cluster.cut(job, Wildcards(**run))) == identity_of(job)


def test_a_workflow_joins_as_many_shards_as_its_config_says(tmp_path: Path) -> None:
    prepared(tmp_path)
    (tmp_path / "cut.yaml").write_text(yaml.safe_dump({**load("tiny.yaml"), **CONFIG, "shards": 3}))
    for name in ("Snakefile", "harness", "profiles"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    done = run_snakemake(tmp_path, str(FRAME), "-n", "--configfile", "cut.yaml", "--no-hooks")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and re.search(r"generate_shard +3\n", said), said


def test_a_damaged_shard_and_one_of_other_weights_are_refused(tmp_path: Path) -> None:
    parts = [str(tmp_path / name) for name in ("one.json", "two.json")]
    for part, weights in zip(parts, ({"model": {"weights": "a"}}, {}), strict=True):
        record = {"weights": weights, "hardware": {}}
        Path(part).write_text(json.dumps({"record": record, "rows": []}))
    with pytest.raises(SpecError, match="other weights"):
        image_shards.told(parts)
    Path(parts[1]).write_text("{")
    with pytest.raises(SpecError, match="damaged"):
        image_shards.joined(parts, tmp_path)
