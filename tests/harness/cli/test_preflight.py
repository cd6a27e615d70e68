"""What is found before the first job of a run starts, whatever job it is about."""

from __future__ import annotations

import json
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from harness_toys import BENCHMARK, METHOD, MODEL, REWARD, generate_job
from paths import REPOSITORY

from harness.base.errors import SpecError
from harness.build import data_files
from harness.cli import preflight
from harness.experiment.component_files import declared
from harness.experiment.components import (
    MethodSpec,
    PromptsSpec,
    RewardSpec,
    SimilaritySpec,
    TableSpec,
)
from harness.experiment.jobs import (
    AuditJob,
    MatchJob,
    PairsJob,
    PretrainJob,
    ScoreJob,
    TableJob,
    TrainJob,
)
from harness.experiment.validation import to_json
from hypernoise.weights.hub import check_network, check_repository

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
def test_a_fault_of_any_job_is_found_before_what_it_waits_for(job: Any, fault: str) -> None:
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


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, an empty cache of the hub, and no connection."""

    def no_route(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route")

    for check in (check_network, check_repository):
        check.cache_clear()
    monkeypatch.setattr("torch.hub.download_url_to_file", no_route)
    monkeypatch.setattr("hypernoise.weights.pinned_files.urlopen", no_route)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path / "data"))
    return tmp_path


def lines_of(*jobs: tuple[str, Any]) -> list[str]:
    return [f"{verb}\t{to_json(job)}\n" for verb, job in jobs]


def test_everything_that_is_missing_is_named_at_once_for_every_stage(cut_off: Path) -> None:
    shipped = declared(REPOSITORY / "workflows")
    preference = {"n": 9, "apart_from": "harness.benchmarks.geneval_coco:prompts"}
    training = PromptsSpec("harness.benchmarks.training_prompts:preference", preference)
    reward, model = shipped.reward("human_preference"), shipped.models["sd_turbo"]
    train = TrainJob(model, TRAINED, reward, training, PROMPTS, {"steps": 1}, "out", "work")
    scored = ScoreJob(shipped.benchmarks["dpg_bench"], {}, ("yet/to/come.parquet",), "out")
    judged = ScoreJob(
        shipped.benchmarks["geneval"],
        {"judge": shipped.reward("aesthetic")},
        ("yet/to/come.parquet",),
        "out",
    )
    compared = {
        "a_distance": SimilaritySpec("harness.similarity.lpips:Lpips"),
        "a_similarity": SimilaritySpec("harness.similarity.dinov2:DinoV2"),
    }
    pairs = PairsJob(compared, ("yet/to/come.parquet",), "out")
    jobs = [("train", train), ("score", scored), ("score", judged), ("pairs", pairs)]
    with pytest.raises(SpecError) as caught:
        preflight.run(lines_of(*jobs, *jobs))
    text = str(caught.value)
    faults = [line for line in text.splitlines() if not line.startswith("    ")]
    # Models, rewards' weights, pins, a scorer's model, comparisons, and data.
    for what in (
        "stabilityai/sd-turbo at",
        "xswu/HPSv2 at",
        "ImageReward.pt' has no '#sha256='",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K at",
        "revision '' of Qwen/Qwen2.5-VL-7B-Instruct",
        "revision '' of facebook/mask2former",
        "alexnet-owt-7be5be79.pth cannot be had",
        "facebook/dinov2-base at",
        "evaluation_metadata.jsonl is missing",
        "color_train.txt is missing",
        "ABC-6K.txt is missing",
        "pick_a_pic/prompts.txt is missing",
        "dpg_bench.csv is missing",
        "sac%2Blogos%2Bava1-l14-linearMSE.pth cannot be had",
    ):
        assert sum(what in line for line in faults) == 1, (what, text)
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    assert len(set(commands)) == len(commands)
    (pin,) = (command for command in commands if command.startswith("python -m harness pin"))
    assert set(pin.split()[5:]) == {"imagereward", "pickscore", "geneval", "dpg_bench"}
    sd_turbo = f"hf download stabilityai/sd-turbo --revision {model.revision}"
    assert sd_turbo in commands
    assert "needed by similarity a_similarity" in text
    # How large a download is, where publishers' facts say so.
    (dino,) = (line for line in faults if "dinov2" in line)
    assert "346 MB" in dino


def test_a_scorers_model_that_the_hub_does_not_give_is_missing_too(cut_off: Path) -> None:
    pinned = declared(REPOSITORY / "workflows").benchmarks["geneval2"]
    with pytest.raises(SpecError) as caught:
        preflight.run(lines_of(("score", replace(scoring(), benchmark=pinned))))
    revision = pinned.arguments["answerer"]["revision"]
    assert f"    hf download Qwen/Qwen3-VL-8B-Instruct --revision {revision}" in str(caught.value)


def test_a_package_that_is_not_installed_is_missing_like_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "wants_more.py").write_text("import not_there.part\n\nclass Judge: ...\n")
    reward = RewardSpec("mine", "wants_more:Judge", 1)
    with pytest.raises(SpecError) as caught:
        preflight.run(lines_of(("score", scoring(judge=reward))))
    assert "package not_there is not installed" in str(caught.value)
    assert str(caught.value).splitlines()[-1] == "    pip install not-there"


def matcher_for(size_px: int, tmp_path: Path) -> list[tuple[str, Any]]:
    """Images of a size, and their scores by the 32 px matcher."""
    matcher = declared(REPOSITORY / "workflows").reward("matcher")
    made = generate_job(tmp_path, model=replace(MODEL, size_px=size_px))
    return [("generate", made), ("score", replace(scoring(judge=matcher), images=(made.out,)))]


def test_a_reward_or_judge_of_another_image_size_is_named_before_the_run(tmp_path: Path) -> None:
    preflight.run(lines_of(*matcher_for(32, tmp_path)))
    fault = "reward 'matcher' takes images of 32 px alone, and model .* makes images of 64 px"
    with pytest.raises(SpecError, match=fault):
        preflight.run(lines_of(*matcher_for(64, tmp_path)))
    matcher = declared(REPOSITORY / "workflows").reward("matcher")
    larger = replace(MODEL, size_px=64)
    for extra in ({}, {"judge": matcher}):
        reward = REWARD if extra else matcher
        train = TrainJob(
            larger, TRAINED, reward, PROMPTS, PROMPTS, {"steps": 1}, "out", "work", extra
        )
        with pytest.raises(SpecError, match=fault):
            preflight.check(train)
    searched = generate_job(
        tmp_path, model=larger, reward=matcher, method=replace(METHOD, needs_reward=True)
    )
    with pytest.raises(SpecError, match=fault):
        preflight.check(searched)


def test_images_alone_need_nothing_of_their_scorer(
    cut_off: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {"tag": "single_object", "include": [{"class": "bench", "count": 1}]}
    metadata = tmp_path / "metadata.jsonl"
    metadata.write_text(json.dumps({**record, "prompt": "a photo of a bench"}) + "\n")
    for module in ("geneval_coco", "geneval2", "dpg"):
        monkeypatch.setattr(f"harness.benchmarks.{module}.locate", lambda *_: metadata)
    shipped = declared(REPOSITORY / "workflows").benchmarks
    geneval = shipped["geneval"]
    preflight.run(lines_of(("generate", generate_job(tmp_path, benchmark=geneval))))
    with pytest.raises(SpecError, match="mask2former"):
        preflight.run(lines_of(("score", replace(scoring(), benchmark=geneval))))
    for name in ("geneval", "geneval2", "dpg_bench", "t2i_compbench"):
        assert not generate_job(tmp_path, benchmark=shipped[name]).weights


def test_notes_about_prompts_are_said_once_by_the_check_and_not_by_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noted.py").write_text(
        "from harness.benchmarks.protocol import Prompt\n"
        "from harness.build.prompts import NOTES\n"
        "def prompts():\n"
        "    NOTES.info('evaluated on, so not trained on: %r', 'a cat')\n"
        "    return [Prompt('one', 'a dog', 'any')]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    noted = PromptsSpec("noted:prompts")
    trains = [
        TrainJob(MODEL, TRAINED, REWARD, noted, PROMPTS, {"steps": n}, "out", "work")
        for n in (1, 2)
    ]
    jobs: list[tuple[str, Any]] = [("train", train) for train in trains]
    monkeypatch.setattr("sys.stdin", lines_of(*jobs))
    assert preflight.command(1) == 0
    assert capsys.readouterr().out == "evaluated on, so not trained on: 'a cat'\n"
    for train in trains:
        preflight.check(train)
    assert capsys.readouterr() == ("", "")
