"""The workflow's rules under other names, as a Snakefile that uses them as a module may give."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from paths import REPOSITORY
from snakemake_runs import run_snakemake

from harness.experiment import workflow
from harness.experiment.workflow import Rules

#: A rule of a project's own, whose parameter has the name of one of ours.
OWN_RULE = """
rule mine:
    output:
        "results/mine.txt",
    params:
        job="count",
    shell:
        "echo {params.job} > {output}"
"""


def test_jobs_of_renamed_rules_are_checked_as_what_they_are(tmp_path: Path) -> None:
    checkout, own = tmp_path / "checkout", tmp_path / "own"
    checkout.mkdir()
    shutil.copy(REPOSITORY / "Snakefile", checkout)
    for name in ("workflows", "profiles"):
        shutil.copytree(REPOSITORY / name, checkout / name)
    for name in ("harness", "hypernoise"):
        (checkout / name).symlink_to(REPOSITORY / name)
    shutil.copytree(REPOSITORY / "examples", own)
    snakefile, used = own / "Snakefile", "use rule * from hypernoise"
    text = snakefile.read_text()
    assert used in text
    snakefile.write_text(text.replace(used, f"{used} as hn_*") + OWN_RULE)
    config = {"extends": str(checkout / "workflows/config/tiny.yaml"), "models": ["tiny_sd"]}
    config |= {"reward": "my_reward", "methods": ["base", "hypernoise", "lora_finetune"]}
    (own / "config.yaml").write_text(yaml.safe_dump(config | {"tables": ["table1"]}))
    given = ["--dry-run", "--cores", "1", "--snakefile", str(snakefile), "hn_all", "mine"]
    done = run_snakemake(checkout, *given)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    planned = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
    assert planned["hn_train"] >= 2
    assert planned["mine"] == 1
    # All but `mine` and `hn_all` are jobs of ours; the check of overlaps comes as one more.
    n_ours = sum(planned.values()) - planned["total"] - 2
    assert f"Checking {n_ours + 1} jobs before the first one starts" in said
    assert "error: " not in said


def test_a_run_of_a_renamed_table_says_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(workflow.subprocess, "run", lambda command, **_: called.append(command))
    rules = Rules.__new__(Rules)
    for verb, name in (("generate", "table1"), ("table", "hn_table1"), ("", "mine")):
        told = {"job": "{}", **({"verb": verb} if verb else {})}
        job = SimpleNamespace(rule=SimpleNamespace(name=name), params=SimpleNamespace(**told))
        rules.say_answer([job])
    assert [command[-2:] for command in called] == [["harness", "summary"]]
