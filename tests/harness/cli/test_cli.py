"""The command line: quick help, one-line errors, and real kills."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import harness_toys
import pytest
from harness_toys import BENCHMARK, METHOD, MODEL, damage, generate_job, made_images, pixels
from paths import REPOSITORY, SUPPORT

from harness.base.import_strings import resolve
from harness.cli.command_line import main
from harness.cli.verbs import COMMANDS, JOB_VERBS, Command, option
from harness.experiment.jobs import JOBS, ScoreJob
from harness.experiment.validation import to_json
from harness.results import frames
from harness.stages import generate

ROOT = REPOSITORY


@pytest.fixture(autouse=True)
def _counts() -> Iterator[None]:
    harness_toys.reset()
    yield
    harness_toys.reset()


def test_help_lists_every_verb_and_starts_without_torch() -> None:
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['pandas'] = None;"
        "sys.argv = ['harness', '--help']; runpy.run_module('harness', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in (*JOBS, *COMMANDS))


def test_every_job_has_a_verb_whose_module_can_do_it() -> None:
    assert JOB_VERBS.keys() == JOBS.keys()
    for verb, of_job in JOB_VERBS.items():
        names = {entry.name for entry in dataclasses.fields(JOBS[verb])}
        assert of_job.has_threads == ("threads" in names), verb
        for function in ("run", *(["check"] if of_job.has_check else [])):
            assert callable(resolve(f"harness.{of_job.module}:{function}"))


def test_every_command_names_a_function_that_takes_its_options() -> None:
    for verb, command in COMMANDS.items():
        parser = argparse.ArgumentParser()
        for name, given in command.options:
            parser.add_argument(name, **given)
        options = {action.dest for action in parser._actions} - {"help"}
        options |= {"arguments"} if command.passes_on else set()
        parameters = inspect.signature(resolve(command.target)).parameters.values()
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            assert {p.name for p in parameters} == options, verb
            # What is declared as an option has no second default.
            assert all(p.default is p.empty for p in parameters), verb


def test_a_list_has_a_line_for_each_component_with_its_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = REPOSITORY / "workflows"
    assert main(["list", "rewards", "--components", str(folder)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"{len(lines)} rewards"
    (matcher,) = (line for line in lines if line.split()[0] == "matcher")
    assert "image-text matcher" in matcher
    assert matcher.endswith(f"({folder}/rewards/matcher.smk)")
    assert main(["list", "--components", str(folder)]) == 0
    said = capsys.readouterr().out
    for kind in ("models", "rewards", "methods", "benchmarks", "tables"):
        assert re.search(rf"^\d+ {kind}$", said, re.MULTILINE)
    # Dots that leave something out end no sentence.
    assert "after 1, 2, 5, ... scored images  (" in said


def test_a_reader_who_has_read_enough_is_no_error() -> None:
    command = f"{sys.executable} -m harness list | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert re.fullmatch(r"\d+ models\n", done.stdout)
    assert not done.stderr


def test_a_pipe_of_somebody_else_that_breaks_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("harness.cli.list_components.run", broken)
    assert main(["list"]) == 2
    assert capsys.readouterr().err == "error: [Errno 32] Broken pipe\n"


def test_jobs_on_standard_input_are_checked_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = to_json(generate_job(tmp_path))
    bad = good.replace('"steps": 1', '"steps": 0')
    for text, code in ((f"generate\t{good}\n", 0), (f"generate\t{bad}\n", 2), ("generate\n", 2)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert main(["preflight", "--processes", "1"]) == code
    model_steps, steps, form = capsys.readouterr().err.splitlines()
    assert "'model.steps' is 0, must be at least 1" in model_steps
    assert "'steps' is 0, must be at least 1" in steps
    assert form.startswith("error: not a verb, a tab and a job: 'generate")


def test_a_job_runs_from_json_and_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    job = generate_job(Path())
    assert main(["generate", "--job", to_json(job)]) == 0
    assert len(frames.read(job.out, "images")) == 6
    scoring = ScoreJob(BENCHMARK, {}, (job.out,), "scores.parquet")
    path = tmp_path / "job.json"
    path.write_text(to_json(scoring))
    # A file names only code that the checkout's own files name.
    toys = tmp_path / "workflows" / "config" / "toys.yaml"
    toys.parent.mkdir(parents=True)
    toys.write_text("")
    assert main(["score", "--job", str(path)]) == 2
    assert f"unknown target of workflows '{BENCHMARK.target}'" in capsys.readouterr().err
    toys.write_text(f"[{BENCHMARK.target}, {BENCHMARK.prompts.target}]")
    assert main(["score", "--job", str(path)]) == 0
    assert len(frames.read(scoring.out, "scores")) == 6


PATH = (option("path", type=Path),)


def test_a_command_gets_its_own_options_and_tells_faults_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "commands_of_test.py").write_text(
        "def code(path): return len(str(path))\n"
        "def missing(path): raise FileNotFoundError(f'folder {path} is missing')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for verb, function in (("where", "code"), ("missing", "missing")):
        command = Command("look at a folder", f"commands_of_test:{function}", PATH)
        monkeypatch.setitem(COMMANDS, verb, command)
    assert main(["where", "here"]) == 4
    assert main(["missing", "here"]) == 2
    assert capsys.readouterr().err == "error: folder here is missing\n"
    with pytest.raises(FileNotFoundError):
        main(["missing", "here", "--traceback"])


def test_a_data_folder_on_the_command_line_goes_before_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.build import data_files

    monkeypatch.setenv(data_files.VARIABLE, "elsewhere")
    seen: list[Path] = []
    monkeypatch.setattr(generate, "run", lambda _job: seen.append(data_files.folder()))
    job = to_json(generate_job(tmp_path))
    assert main(["generate", "--job", job]) == 0
    assert main(["generate", "--job", job, "--data", "mine"]) == 0
    assert seen == [Path("elsewhere"), Path("mine")]


def test_a_check_does_no_work(tmp_path: Path) -> None:
    assert main(["generate", "--check", "--job", to_json(generate_job(tmp_path))]) == 0
    assert harness_toys.ToyGenerator.built == 0
    assert list(tmp_path.iterdir()) == []


def test_threads_of_the_command_line_go_before_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(generate, "run", lambda job: seen.append(job.threads))
    job = to_json(generate_job(tmp_path, threads=2))
    assert main(["generate", "--job", job]) == 0
    assert main(["generate", "--threads", "3", "--job", job]) == 0
    assert seen == [2, 3]
    with pytest.raises(SystemExit):
        main(["generate", "--threads", "0", "--job", job])
    assert "at least 1, got '0'" in capsys.readouterr().err


def error_of(capsys: pytest.CaptureFixture[str], verb: str, job: str, *options: str) -> str:
    capsys.readouterr()
    assert main([verb, "--job", job, *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_an_error_of_the_user_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = generate_job(tmp_path)
    data = json.loads(to_json(job))
    assert "'steps' is 0" in error_of(capsys, "generate", json.dumps(data | {"steps": 0}))
    assert "'step'" in error_of(capsys, "generate", json.dumps(data | {"step": 1}))
    assert "lost.json is missing" in error_of(capsys, "generate", "lost.json")
    lost = dataclasses.replace(job, model=dataclasses.replace(MODEL, weights="a/b/c"))
    assert "a/b/c" in error_of(capsys, "generate", to_json(lost), "--check")
    typo = dataclasses.replace(job, model=dataclasses.replace(MODEL, arguments={"gian": 1.0}))
    assert "'gian'; did you mean 'gain'" in error_of(capsys, "generate", to_json(typo))
    ghost = dataclasses.replace(job, method=dataclasses.replace(METHOD, target="harness_toys:Toy"))
    assert "'Toy'" in error_of(capsys, "generate", to_json(ghost))


def test_a_truncated_frame_is_an_error_of_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made_images(tmp_path)
    damage(Path(images))
    job = ScoreJob(BENCHMARK, {}, (images,), str(tmp_path / "scores.parquet"))
    assert "images.parquet is truncated" in error_of(capsys, "score", to_json(job))


def test_a_traceback_is_shown_when_asked_for(tmp_path: Path) -> None:
    job = json.dumps(json.loads(to_json(generate_job(tmp_path))) | {"steps": 0})
    with pytest.raises(ValueError, match="'steps' is 0"):
        main(["generate", "--traceback", "--job", job])


def test_a_fault_of_ours_is_not_dressed_up_as_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("internal")

    monkeypatch.setattr(harness_toys.ToyMethod, "run", fail)
    with pytest.raises(RuntimeError, match="internal"):
        main(["generate", "--job", to_json(generate_job(tmp_path))])


def test_a_diverged_training_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.stages import train
    from hypernoise.training.measurements import TrainingDiverged

    def diverge(_job: object) -> None:
        raise TrainingDiverged(3, "loss is nan", Path("work/checkpoints/step_000002"))

    monkeypatch.setattr(train, "run", diverge)
    monkeypatch.setattr("harness.experiment.jobs.load_job", lambda *_: None)
    message = error_of(capsys, "train", "{}")
    assert "loss is nan at step 3" in message
    assert "step_000002" in message


def test_running_out_of_memory_says_what_helps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from harness.stages import train

    def run_out(_job: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(train, "run", run_out)
    monkeypatch.setattr("harness.experiment.jobs.load_job", lambda *_: None)
    message = error_of(capsys, "train", "{}")
    assert "CUDA out of memory. Training: make batch_size smaller" in message
    assert "give the model vae_savings" in message


def test_an_unknown_verb_lists_the_valid_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["generat", "--job", "{}"])
    assert caught.value.code == 2
    assert "'generate'" in capsys.readouterr().err


def test_a_process_that_is_killed_outright_continues_to_the_same_images(tmp_path: Path) -> None:
    slow = dataclasses.replace(METHOD, arguments={"wait_s": 0.5})
    many = dataclasses.replace(BENCHMARK, arguments={"n": 5}, n_images=4)
    changes = {"method": slow, "benchmark": many, "batch_size": 4}
    job = generate_job(tmp_path / "killed", **changes)
    rows = tmp_path / "killed" / "work" / "rows.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "generate", "--job", to_json(job)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # The file is there before its first rows are.
        while (not rows.exists() or not rows.read_bytes()) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read()
    n_kept = len(rows.read_text().splitlines())
    assert 4 <= n_kept < 20
    made_images(tmp_path / "killed", **changes)
    assert sum(size for _, size in harness_toys.ToyMethod.calls) == 20 - n_kept
    made_images(tmp_path / "whole", benchmark=many)
    assert pixels(tmp_path / "killed") == pixels(tmp_path / "whole")
    assert len(pixels(tmp_path / "whole")) == 20


def explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> dict[str, str]:
    """Option -> what is said of it, of a run of the shipped configs."""
    monkeypatch.chdir(REPOSITORY)
    assert main(["explain", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line for line in lines if line.startswith("  ")}


def test_explain_says_of_every_option_what_gives_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = ("--configfile", "workflows/config/tiny_full.yaml")
    said = explained(capsys, monkeypatch, "tiny_sd", "hypernoise:rank=16", "matcher", *full)
    expected = {
        "size_px": r"32 +workflows/models/tiny_sd.smk",
        "rank": r"16 +the method's own arguments",
        "alpha": r"64.0 +workflows/config/tiny.yaml: training: tiny_sd",
        "optimizer": r"adamw +default of hypernoise.training.options:NoiseNetworkOptions",
        "merged": r"True +workflows/config/tiny.yaml: arguments: hypernoise",
        "seed": r"0 +workflows/config/tiny.yaml: seed",
    }
    for name, words in expected.items():
        assert re.fullmatch(rf"  {name} +{words}", said[name]), said[name]


def test_explain_shows_the_search_that_a_method_goes_on_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = explained(capsys, monkeypatch, "tiny_sd", "hypernoise_reno", "matcher")
    assert said["iterations"].endswith("workflows/methods/reno.smk")
    assert main(["explain", "tiny_sd", "renoo", "matcher"]) == 2
    assert "unknown method 'renoo'; did you mean 'reno'?" in capsys.readouterr().err
    assert main(["explain", "tiny_sd", "reno", "matcher", "--configfile", "lost.yaml"]) == 2
    assert capsys.readouterr().err == "error: config lost.yaml is missing\n"
