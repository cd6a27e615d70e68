"""Pins of a user's own: what lacks one, how it is found and kept, and that it is as if declared."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from harness_toys import BENCHMARK, made_images
from local_hub import COMMIT, GATED, LocalHub, Repository, sha256
from safetensors.torch import save

from harness.base.errors import SpecError
from harness.benchmarks import dpg, geneval_coco
from harness.benchmarks.build import check_benchmark
from harness.build.data_files import VARIABLE
from harness.build.rewards import build_reward, check_reward
from harness.cli import pin as pin_command
from harness.cli.command_line import main
from harness.experiment import pins
from harness.experiment.component_files import declared
from harness.experiment.components import Registry
from harness.experiment.jobs import ScoreJob
from harness.experiment.pins import FILE, Pin
from harness.experiment.validation import to_json
from harness.results import frames
from hypernoise.weights import hub
from hypernoise.weights.pinned_files import PinnedFile
from hypernoise.weights.pins import Unpinned

HASH = "0123456789abcdef" * 4
WEIGHTS = save({"weight": torch.tensor([2.0])})
OTHER_WEIGHTS = save({"weight": torch.tensor([3.0])})
PLACE = f"hf://someone/scorer@{COMMIT}/weights.safetensors"


def declaration(name: str, weights: str) -> str:
    return f'add_reward("{name}", target="pinned_toys:Weighed", weights="{weights}", version=1)\n'


def components(folder: Path, **weights: str) -> Path:
    """A folder of component files: rewards by their names and weights."""
    (folder / "rewards").mkdir(parents=True)
    for name, text in weights.items():
        (folder / "rewards" / f"{name}.smk").write_text(declaration(name, text))
    return folder


def registry(**weights: str) -> Registry:
    made = Registry()
    for name, text in weights.items():
        made.add_reward(name, target="pinned_toys:Weighed", weights=text, version=1)
    return made


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A local hub in the real one's place, and behind every https address; with empty caches."""
    opened = urllib.request.urlopen
    forget_checks()
    with LocalHub({"someone/scorer": Repository({"weights.safetensors": WEIGHTS})}) as made:

        def local(address: Any, **options: Any) -> Any:
            url = getattr(address, "full_url", address)
            return opened(url.replace("https://files.example", made.address), **options)

        template = made.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", made.address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("hypernoise.weights.pinned_files.urlopen", local)
        monkeypatch.setattr("torch.hub.urlopen", local)
        monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch"))
        yield made
    forget_checks()


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, typed_in_root: None) -> Registry:
    """The workflow's components as they are declared, whatever the checkout's user has pinned."""
    monkeypatch.setattr(pins, "FILE", "nobodys.toml")
    return declared(pins.FOLDER)


def pin(folder: Path, *arguments: str) -> int:
    return main(["pin", "--components", str(folder), *arguments])


def scoring(tmp_path: Path, folder: Path) -> ScoreJob:
    rewards = {"train_reward": declared(folder).reward("weighed")}
    return ScoreJob(BENCHMARK, rewards, (made_images(tmp_path),), str(tmp_path / "scores.parquet"))


def forget(tmp_path: Path) -> None:
    for cache in ("hub", "torch"):
        shutil.rmtree(tmp_path / cache, ignore_errors=True)
    forget_checks()


def forget_checks() -> None:
    for check in (hub.check_file, hub.check_network):
        check.cache_clear()


def test_what_refuses_without_a_pin_runs_with_it_and_stops_at_another_content(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = components(tmp_path / "components", weighed=PLACE)
    assert main(["score", "--job", to_json(scoring(tmp_path, folder))]) == 2
    refusal = capsys.readouterr().err
    assert f"weights of reward 'weighed': '{PLACE}' has no '#sha256='" in refusal
    assert "`python -m harness pin`" in refusal
    assert server.asked == []

    assert pin(folder, "--write") == 0
    said = capsys.readouterr().out
    for word in (PLACE, "reward 'weighed'", sha256(WEIGHTS), server.address, "Trust on first use"):
        assert word in said
    assert f"size {len(WEIGHTS)} bytes" in said

    job = scoring(tmp_path, folder)
    assert main(["score", "--job", to_json(job)]) == 0
    spec = frames.read_provenance(job.out)["spec"]
    pinned = f"{PLACE}#sha256={sha256(WEIGHTS)}"
    assert spec["rewards"]["train_reward"]["arguments"]["weights"] == pinned

    server.repositories["someone/scorer"].files["weights.safetensors"] = OTHER_WEIGHTS
    forget(tmp_path)
    hashes = f"SHA-256 {sha256(OTHER_WEIGHTS)}.*expected {sha256(WEIGHTS)}"
    reward = declared(folder).reward("weighed")
    with pytest.raises(ValueError, match=hashes):
        check_reward(reward)
    with pytest.raises(ValueError, match=hashes):
        build_reward(reward, "cpu")


def test_a_list_asks_nobody_and_writes_nothing(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = components(tmp_path / "components", weighed=PLACE, sound=f"{PLACE}#sha256={HASH}")
    assert pin(folder) == 0
    said = capsys.readouterr().out
    assert f"{PLACE}\n  lacks SHA-256, needed by\n    reward 'weighed'" in said
    assert "'sound'" not in said
    assert "trust on first use" in said
    assert server.asked == []
    assert not (folder / FILE).exists()


def test_a_pin_that_is_there_is_neither_asked_for_again_nor_changed(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = components(tmp_path / "components", weighed=PLACE)
    assert pin(folder, "--write") == 0
    kept, asked = (folder / FILE).read_text(), list(server.asked)
    server.repositories["someone/scorer"].files["weights.safetensors"] = OTHER_WEIGHTS
    assert pin(folder, "--write") == 0
    assert "is pinned" in capsys.readouterr().out
    assert (folder / FILE).read_text() == kept
    assert server.asked == asked

    more = f"hf://someone/scorer@{COMMIT}/more.safetensors"
    (folder / FILE).write_text(kept + "# mine\n")
    (folder / "rewards" / "more.smk").write_text(declaration("more", more))
    server.repositories["someone/scorer"].files["more.safetensors"] = OTHER_WEIGHTS
    assert pin(folder, "--write") == 0
    assert (folder / FILE).read_text().startswith(kept + "# mine\n")
    assert set(pins.read(folder / FILE)) == {PLACE, more}


def test_a_file_without_a_commit_gets_the_newest_one_and_a_small_file_is_hashed(
    tmp_path: Path, server: LocalHub
) -> None:
    words = b"[PAD]\nyes\nno\n"
    server.repositories["someone/words"] = Repository({"vocab.txt": words}, small=("vocab.txt",))
    place = "hf://someone/words/vocab.txt"
    folder = components(tmp_path / "components", weighed=place)
    assert pin(folder, "--write") == 0
    found = pins.read(folder / FILE)[place]
    assert (found.commit, found.sha256) == (COMMIT, sha256(words))
    assert found.source.endswith("downloaded")
    weights = declared(folder).rewards["weighed"].arguments["weights"]
    assert weights == f"hf://someone/words@{COMMIT}/vocab.txt#sha256={sha256(words)}"
    assert PinnedFile.parse(weights).fetch().read_bytes() == words


def test_a_file_of_the_web_is_downloaded_once_for_its_hash_and_its_use(
    tmp_path: Path, server: LocalHub
) -> None:
    server.files["/blip.safetensors"] = WEIGHTS
    folder = components(tmp_path / "components", weighed="https://files.example/blip.safetensors")
    assert pin(folder, "--write") == 0
    reward = build_reward(declared(folder).reward("weighed"), "cpu")
    images = torch.full((2, 3, 4, 4), 0.5)
    assert reward.score(images, reward.encode(["a", "b"])).tolist() == [1.0, 1.0]
    assert server.asked == ["GET /blip.safetensors"]

    server.files["/blip.safetensors"] = OTHER_WEIGHTS
    forget(tmp_path)
    with pytest.raises(
        ValueError, match=f"SHA-256 {sha256(OTHER_WEIGHTS)}, expected {sha256(WEIGHTS)}"
    ):
        build_reward(declared(folder).reward("weighed"), "cpu")


def test_a_download_that_ends_early_gives_no_pin(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/blip.pth"] = WEIGHTS
    server.withheld_bytes = 7
    folder = components(tmp_path / "components", weighed="https://files.example/blip.pth")
    assert pin(folder, "--write") == 2
    assert f"ended after {len(WEIGHTS)} of {len(WEIGHTS) + 7} bytes" in capsys.readouterr().err
    assert not (folder / FILE).exists()
    assert list((tmp_path / "torch" / "hypernoise").iterdir()) == []


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (f"hf://someone/gated@{COMMIT}/w.pt", ["someone/gated is gated", "hf auth login"]),
        (f"hf://someone/else@{COMMIT}/w.pt", ["no repository someone/else"]),
        (f"hf://someone/scorer@{'9' * 40}/w.pt", ["no revision 9999"]),
        (f"hf://someone/scorer@{COMMIT}/w.pt", ["lacks a file", "w.pt is missing"]),
        ("hf://someone/else/w.pt", ["no repository someone/else"]),
        ("https://files.example/w.pt", ["cannot be had", "404"]),
    ],
)
def test_what_a_publisher_does_not_tell_is_named_and_the_rest_is_kept(
    tmp_path: Path,
    server: LocalHub,
    capsys: pytest.CaptureFixture[str],
    place: str,
    words: list[str],
) -> None:
    server.repositories["someone/gated"] = Repository({}, error=GATED)
    folder = components(tmp_path / "components", lost=place, weighed=PLACE)
    assert pin(folder, "--write") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: 1 of 2 without a pin: {place}: ")
    assert all(word in captured.err for word in words), captured.err
    assert set(pins.read(folder / FILE)) == {PLACE}


def test_offline_nothing_is_pinned_and_the_message_says_so(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    server.__exit__()
    folder = components(tmp_path / "components", weighed=PLACE, web="https://files.example/w.pt")
    assert pin(folder, "--write") == 2
    said = capsys.readouterr().err
    assert f"someone/scorer: {server.address} is out of reach" in said
    assert "https://files.example/w.pt cannot be had" in said
    assert not (folder / FILE).exists()


def test_an_answer_that_is_no_commit_is_refused(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    server.repositories["someone/scorer"].commit = "main"
    folder = components(tmp_path / "components", weighed="hf://someone/scorer/weights.safetensors")
    assert pin(folder, "--write") == 2
    assert "someone/scorer is at 'main', which is no commit" in capsys.readouterr().err


def test_only_named_components_and_the_parts_of_a_sum_are_pinned(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    other = f"hf://someone/scorer@{COMMIT}/other.safetensors"
    server.repositories["someone/scorer"].files["other.safetensors"] = OTHER_WEIGHTS
    folder = components(tmp_path / "components", weighed=PLACE, other=other)
    (folder / "rewards" / "sum.smk").write_text(
        'add_reward("mine", target="hypernoise.rewards.ensemble:Ensemble", parts={"weighed": 1.0}, '
        "version=1)\n"
    )
    assert pin(folder, "mine", "--write") == 0
    assert set(pins.read(folder / FILE)) == {PLACE}
    parts = declared(folder).reward("mine").parts
    assert parts["weighed"].arguments["weights"].endswith(f"#sha256={sha256(WEIGHTS)}")
    capsys.readouterr()
    assert pin(folder, "weihged") == 2
    assert "unknown component 'weihged'; did you mean 'weighed'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'["{PLACE}"]\nsha256 = "abc"', "sha256 of .* is 'abc', must be 64 hexadecimal digits"),
        (f'["{PLACE}"]\nsha256 = "{HASH.upper()}"', "must be 64 hexadecimal digits, in lower case"),
        (f'["{PLACE}"]\nsource = "me"', "sha256 of .* is '', must be 64"),
        (f'["{PLACE}"]\nsha256 = 5', "sha256 of .* is 5, must be str"),
        (f'["{PLACE}"]\nsha265 = "{HASH}"', "'sha265'; did you mean 'sha256'"),
        (f'["{PLACE}"]\nsha256 = "{HASH}"\ncommit = "{COMMIT}"', "takes no commit, only sha256"),
        (f'["{PLACE}"]\nsha256 = "{HASH}"\n["{PLACE}"]\nsha256 = "{HASH}"', "pins.toml: Cannot"),
        (f'"{PLACE}" = "{HASH}"', "must be a table"),
        (f'["{PLACE[:-1]}"]\nsha256 = "{HASH}"', f"unknown place of a pin .*did you mean '{PLACE}"),
        ("not toml", "pins.toml: "),
    ],
)
def test_a_faulty_pin_is_refused_with_file_value_and_what_is_valid(
    tmp_path: Path, text: str, words: str
) -> None:
    folder = components(tmp_path / "components", weighed=PLACE)
    (folder / FILE).write_text(text)
    with pytest.raises(SpecError, match=words) as caught:
        declared(folder)
    assert str(folder / FILE) in str(caught.value)


def test_a_pin_may_repeat_a_declaration_but_not_contradict_it() -> None:
    made = registry(weighed=f"{PLACE}#sha256={HASH}")
    pins.apply(made, {PLACE: Pin(sha256=HASH)}, FILE)
    with pytest.raises(
        SpecError, match=rf"pins\.toml: sha256 of .* is {'0' * 64}, but reward 'weighed' .*{HASH}"
    ):
        pins.apply(made, {PLACE: Pin(sha256="0" * 64)}, FILE)


def test_a_look_up_that_contradicts_a_declared_hash_is_not_kept(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    place = "hf://someone/scorer/weights.safetensors"
    folder = components(tmp_path / "components", weighed=f"{place}#sha256={HASH}")
    assert pin(folder, "--write") == 2
    assert f"is {sha256(WEIGHTS)}, but reward 'weighed' declares {HASH}" in capsys.readouterr().err
    assert not (folder / FILE).exists()


def test_a_pin_lies_in_the_folder_that_declares_its_component_and_each_is_used_without_the_other(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = "hf://someone/scorer/weights.safetensors"
    server.repositories["someone/scorer"].files["own.safetensors"] = OTHER_WEIGHTS
    checkout = components(tmp_path / "checkout", weighed=shared)
    place = f"hf://someone/scorer@{COMMIT}/own.safetensors"
    own = components(tmp_path / "own", mine=place, same=shared)
    both = (checkout, own)
    pin_command.run([], False, None, both)
    assert f"{checkout / FILE} and {own / FILE} keeps" in capsys.readouterr().out
    # What the checkout needs too is pinned there, though only an own component was asked for.
    pin_command.run(["same"], True, None, both)
    assert set(pins.read(checkout / FILE)) == {shared}
    assert not (own / FILE).exists()
    pin_command.run([], True, None, both)
    assert set(pins.read(own / FILE)) == {place}
    assert not [found for found in pins.downloads(declared(checkout, own)) if found.lacks]
    assert not [found for found in pins.downloads(declared(checkout)) if found.lacks]

    pins.add(own / FILE, {shared: pins.read(checkout / FILE)[shared]})
    assert not [found for found in pins.downloads(declared(checkout, own)) if found.lacks]
    kept = (own / FILE).read_text()
    (own / FILE).write_text(kept.replace(sha256(WEIGHTS), HASH))
    with pytest.raises(SpecError, match=f"own/pins.toml: the pin of {shared} is another one than"):
        declared(checkout, own)


def test_a_repository_is_pinned_by_its_commit_wherever_it_is_declared() -> None:
    made = Registry()
    answerer = {"target": "pinned_toys:Asked", "weights": "someone/vlm"}
    prompts = {"target": "harness.benchmarks.compbench:prompts"}
    made.add_benchmark(
        "asked",
        target="harness.benchmarks.compbench:CompBench",
        prompts=prompts,
        answerer=answerer,
        metric="t2i_compbench",
        version=1,
    )
    (found,) = pins.downloads(made)
    assert (found.place, found.lacks, found.component) == (
        "someone/vlm",
        ("commit",),
        "benchmark 'asked'",
    )
    pins.apply(made, {"someone/vlm": Pin(commit=COMMIT)}, FILE)
    assert made.benchmarks["asked"].arguments == {
        "prompts": prompts,
        "answerer": {**answerer, "revision": COMMIT},
    }
    (pinned,) = pins.downloads(made)
    assert pinned.lacks == ()


def test_a_detector_of_the_hub_passes_its_check_with_a_pin_and_not_without(
    tmp_path: Path, server: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.safetensors"
    clip.write_bytes(WEIGHTS)
    files = {"config.json": b"{}", "model.safetensors": WEIGHTS}
    server.repositories["someone/detector"] = Repository(files, small=("config.json",))
    folder = components(tmp_path / "components")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "mine.smk").write_text(
        'add_benchmark("mine", target="harness.benchmarks.geneval_coco:GenEval",'
        f'detector="someone/detector", clip="{clip}", metric="geneval_correct", version=1)'
    )
    with pytest.raises(Unpinned, match="revision '' of someone/detector is no commit"):
        check_benchmark(declared(folder).benchmarks["mine"])
    assert pin(folder, "--write") == 0
    assert f"commit {COMMIT}" in capsys.readouterr().out
    pinned = declared(folder).benchmarks["mine"]
    assert pinned.arguments["detector_revision"] == COMMIT
    check_benchmark(pinned)

    server.repositories["someone/detector"].commit = "1" * 40
    forget(tmp_path)
    with pytest.raises(ValueError, match=f"someone/detector has no revision {COMMIT}"):
        check_benchmark(pinned)


def test_what_is_here_and_what_a_server_calls_a_model_needs_no_pin(tmp_path: Path) -> None:
    made = registry(weighed=str(tmp_path / "weights.safetensors"))
    made.add_method(
        "endpoint",
        target="hypernoise.methods.llm:endpoint_search",
        url="https://server.example/v1",
        model="meta-llama/Llama-3.1-8B-Instruct",
        proposals=1,
        rounds=1,
        version=1,
    )
    made.add_method(
        "local",
        target="hypernoise.methods.llm:local_llm_search",
        model="someone/llm",
        proposals=1,
        rounds=1,
        version=1,
    )
    assert [found.name for found in pins.downloads(made)] == ["local"]


def test_the_published_detector_is_pinned_though_only_a_default_names_it(
    shipped: Registry,
) -> None:
    place = geneval_coco.DETECTOR
    (found,) = (f for f in pins.downloads(shipped) if f.place == place)
    assert (found.name, found.lacks) == ("geneval", ("commit",))
    pins.apply(shipped, {place: Pin(commit=COMMIT)}, FILE)
    given = shipped.benchmarks["geneval"].arguments
    assert given == {"detector": place, "detector_revision": COMMIT}


def test_the_command_that_scores_folders_takes_the_detectors_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[str, str]] = []
    monkeypatch.setattr(geneval_coco, "check_source", lambda *given: checked.append(given))
    monkeypatch.setattr(geneval_coco, "ClipColors", lambda _: None)
    monkeypatch.chdir(tmp_path)
    geneval_coco.evaluator()
    pins.add(pins.FOLDER / FILE, {geneval_coco.DETECTOR: Pin(commit=COMMIT)})
    geneval_coco.evaluator()
    geneval_coco.evaluator(detector_revision="1" * 40)
    assert [revision for _, revision in checked] == ["", COMMIT, "1" * 40]


def test_a_pinned_question_table_is_checked_in_the_data_folder_and_downloaded_into_it(
    tmp_path: Path, server: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = "item_id,text,proposition_id,dependency,tuple,question_natural_language"
    table = f"{columns}\nfirst,A cat.,1,0,entity - whole (cat),Is there a cat?\n".encode()
    server.files["/dpg_bench.csv"] = table
    place = "https://files.example/dpg_bench.csv"
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"without a SHA-256.*python -m harness pin"):
        dpg.prompts(place)
    found = pin_command.look_up(place)
    (prompt,) = dpg.prompts(f"{place}#sha256={found.sha256}")
    assert prompt.text == "A cat."
    (tmp_path / dpg.NAME).write_bytes(b"another table")
    with pytest.raises(ValueError, match=f"expected {sha256(table)}"):
        dpg.prompts(f"{place}#sha256={found.sha256}")


def refuses(check: Any, *arguments: Any) -> bool:
    """Whether a check stops at a download that lacks its pin, and not at anything else."""
    try:
        check(*arguments)
    except (ValueError, OSError) as error:
        return bool(pins.advice(error)) or "harness pin" in str(error)
    return False


def test_the_list_names_exactly_what_would_refuse(
    shipped: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypernoise.weights.hub.check_file", lambda *_: None)
    # What is at a commit already would ask the hub, again and again where there is none.
    monkeypatch.setattr("harness.benchmarks.vlm.check_network", lambda *_: None)
    listed = {download.name for download in pins.downloads(shipped) if download.lacks}
    single = [reward for reward in shipped.rewards.values() if not reward.weights_of]
    refused = {reward.name for reward in single if refuses(check_reward, reward)}
    refused |= {b.name for b in shipped.benchmarks.values() if refuses(check_benchmark, b)}
    assert refused == listed
    assert {"hpsv2_0", "pickscore", "imagereward", "geneval", "t2i_compbench"} <= listed


def test_with_pins_for_all_that_is_listed_nothing_refuses(
    shipped: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypernoise.weights.hub.check_file", lambda *_: None)
    for module in ("mask2former", "vlm"):
        monkeypatch.setattr(f"harness.benchmarks.{module}.check_network", lambda *_: None)
    given = {"commit": COMMIT, "sha256": HASH}
    places = {download.place for download in pins.downloads(shipped) if download.lacks}
    found = {p: Pin(**{name: given[name] for name in pins.needed(p)}) for p in places}
    pins.apply(shipped, found, FILE)
    assert not [download for download in pins.downloads(shipped) if download.lacks]
    for name in shipped.rewards:
        check_reward(shipped.reward(name))
    for benchmark in shipped.benchmarks.values():
        check_benchmark(benchmark)


def test_a_config_needs_what_its_selections_and_rewards_name(
    shipped: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pin", "--configfile", "workflows/config/tiny.yaml"]) == 0
    assert "is pinned" in capsys.readouterr().out
    assert main(["pin", "--configfile", "workflows/config/paper.yaml"]) == 0
    said = capsys.readouterr().out
    needed = ("pickscore", "imagereward", "geneval", "t2i_compbench", "dpg_bench")
    assert all(f"'{name}'" in said for name in needed)
    assert "hpsv2_0" not in said


def test_a_language_model_of_the_hub_needs_a_commit() -> None:
    from hypernoise.methods.llm import LocalLlm

    with pytest.raises(Unpinned, match="revision '' of someone/llm is no commit"):
        LocalLlm("someone/llm")
    with pytest.raises(ValueError, match="revision 'main' of someone/llm is no commit"):
        LocalLlm("someone/llm", revision="main")
