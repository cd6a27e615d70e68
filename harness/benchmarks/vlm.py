"""Vision-language models that answer questions: one that transformers runs here, or a server's.

Both read the probabilities of the answer's first token. A question is sent as it is, followed by
an instruction: GenEval 2's "Answer in one word." unless another is given.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from harness.benchmarks.protocol import Images
from harness.benchmarks.questions import Probabilities, grouped, pairs, share_of_yes
from harness.benchmarks.seen_images import (
    ENCODINGS,
    PIXELS,
    SeenImages,
    can_reuse,
    encoded,
    gathered,
)
from harness.benchmarks.surface_forms import distinct, matching_probability, surface_forms
from harness.experiment.publishers import Publisher, publishers
from hypernoise.images import to_uint8
from hypernoise.methods.llm import Endpoint
from hypernoise.weights.hub import check_commit, check_network
from hypernoise.weights.stand_ins import Shelf, commit_of
from hypernoise.weights.whole_network import hush_transformers, whole_network

INSTRUCTION = "Answer in one word."
#: What a first token is compared with, where only yes and no are asked for.
_YES, _NO = "yes", "no"
_Item = TypeVar("_Item")


class Vlm:
    """A model of transformers' image-text-to-text kind with a chat template.

    Each image is encoded once for all its questions, where the model takes encoded images
    (:mod:`harness.benchmarks.seen_images`); other models encode it with every question.

    Args:
        weights: folder or hub name.
        revision: commit of the hub repository.
        instruction: what follows each question.
        batch_size: images, and questions, that go through the model together.
        dtype: of the model, or its name, e.g. ``"bfloat16"``.
        device: torch device.

    Raises:
        ValueError: a model of the hub without a commit.
    """

    def __init__(
        self,
        weights: str,
        revision: str = "",
        instruction: str = INSTRUCTION,
        batch_size: int = 8,
        dtype: str | torch.dtype = "bfloat16",
        device: str = "cpu",
    ) -> None:
        if not Path(weights).is_dir():
            check_commit(weights, revision)
        self._source = {"revision": revision} if revision else {}
        self._weights = weights
        self._instruction = instruction
        self._batch_size = batch_size
        self._dtype = dtype
        self._device = device

    def check(self) -> None:
        """Check that a model of the hub can be had; nothing is loaded.

        Raises: as :func:`hypernoise.weights.hub.check_network`.
        """
        if self._source:
            check_network(self._weights, self._source["revision"])

    @classmethod
    def stand_in(
        cls, shelf: Shelf, *, weights: str, revision: str = "", **_: Any
    ) -> dict[str, Any]:
        """As :class:`hypernoise.weights.stand_ins.HasStandIn` says, of the family that is known of
        the repository; a LLaVA where none is, since no declaration names it."""
        # Lazy import: whoever asks a real model needs none of it.
        from hypernoise.weights.small_vlm import lay_small

        commit = commit_of(weights, revision)
        family = publishers().get(weights, Publisher()).model_type
        lay_small(shelf.repository(weights, commit), family)
        return {"revision": commit}

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
        """As :class:`harness.benchmarks.questions.Answerer` says."""
        first = self._first_tokens(images, questions)
        tokens = distinct({word: self._token_ids(word) for word in (_YES, _NO)})
        yes, no = (first[:, tokens[word]].sum(dim=-1).tolist() for word in (_YES, _NO))
        shares = [share_of_yes(y, n, self._weights) for y, n in zip(yes, no, strict=True)]
        return grouped(shares, [len(those) for those in questions])

    def answer_probability(
        self, images: Images, asked: Sequence[Sequence[tuple[str, str]]]
    ) -> Probabilities:
        """As :class:`harness.benchmarks.questions.AnswerJudge` says: all forms of the answer."""
        sizes = [len(those) for those in asked]
        first = self._first_tokens(images, [[question for question, _ in those] for those in asked])
        answers = [asked[image][place][1] for image, place in pairs(sizes)]
        rows = zip(first, answers, strict=True)
        values = [float(row[self._token_ids(answer)].sum().clamp(max=1)) for row, answer in rows]
        return grouped(values, sizes)

    def first_token_probability(
        self, images: Tensor, questions: Sequence[str], answer: str
    ) -> Tensor:
        """As :class:`harness.benchmarks.questions.TensorAnswerer` says.

        The processor takes floats, which it does not round to 8 bits after a resize.
        """
        tokenizer = self._processor.tokenizer
        tokens = tokenizer.encode(answer, add_special_tokens=False)
        if not tokens or tokens[0] == tokenizer.unk_token_id:
            raise ValueError(f"no token of {self._weights} begins the answer {answer!r}")
        values = []
        for batch in self._batches(list(zip(images.float(), questions, strict=True))):
            texts = self._processor.apply_chat_template(
                [_chat({"type": "image"}, self._asked(question)) for _, question in batch],
                add_generation_prompt=True,
                tokenize=False,
            )
            inputs = self._processor(
                images=[image for image, _ in batch],
                text=texts,
                padding=True,
                return_tensors="pt",
                images_kwargs={"do_rescale": False},
            ).to(self._network.device, dtype=self._network.dtype)
            logits: Tensor = self._network(**inputs, logits_to_keep=1).logits[:, -1]
            values.append(logits.float().softmax(dim=-1)[:, tokens[0]])
        return torch.cat(values)

    def check_answer(self, question: str, answer: str) -> None:
        """As :class:`harness.benchmarks.questions.AnswerJudge` says; loads the tokenizer only.

        Raises:
            ValueError: the answer is not one word, or begins with no token of the model's.
        """
        self._token_ids(answer)

    def _first_tokens(self, images: Images, questions: Sequence[Sequence[str]]) -> Tensor:
        """Probabilities of the answers' first tokens, [Q, vocabulary], on the CPU."""
        pictures = _pictures(images)
        places = pairs([len(those) for those in questions])
        seen = self._see(pictures) if can_reuse(self._network) else None
        parts = []
        for part in self._batches(places):
            asked = [(pictures[image], questions[image][place]) for image, place in part]
            ready = None if seen is None else seen.of([image for image, _ in part])
            parts.append(self._first_of(asked, ready))
        return torch.cat(parts)

    @torch.no_grad()
    def _see(self, pictures: Sequence[Image.Image]) -> SeenImages | None:
        batches = self._batches(pictures)
        # What is asked is no matter here, but a chat has to ask something.
        inputs = (self._inputs([(picture, "") for picture in batch]) for batch in batches)
        return gathered([encoded(self._network, given) for given in inputs], len(pictures))

    @torch.no_grad()
    def _first_of(
        self, asked: Sequence[tuple[Image.Image, str]], seen: dict[str, Any] | None
    ) -> Tensor:
        inputs = self._inputs(asked)
        if seen is not None:
            inputs = {name: inputs[name] for name in inputs if name != PIXELS} | {ENCODINGS: seen}
        logits: Tensor = self._network(**inputs, logits_to_keep=1).logits[:, -1]
        return logits.float().softmax(dim=-1).cpu()

    def _inputs(self, asked: Sequence[tuple[Image.Image, str]]) -> Any:
        chats = [
            _chat({"type": "image", "image": picture}, self._asked(question))
            for picture, question in asked
        ]
        inputs = self._processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        )
        return inputs.to(self._network.device, dtype=self._network.dtype)

    def _asked(self, question: str) -> str:
        return f"{question} {self._instruction}".strip()

    def _batches(self, items: Sequence[_Item]) -> list[Sequence[_Item]]:
        size = self._batch_size
        return [items[start : start + size] for start in range(0, len(items), size)]

    def _token_ids(self, answer: str) -> list[int]:
        tokenizer = self._processor.tokenizer
        starts = (tokenizer.encode(f, add_special_tokens=False)[:1] for f in surface_forms(answer))
        ids = {token for start in starts for token in start} - {tokenizer.unk_token_id}
        # Where a space is a token of its own (before digits often), any answer can follow it.
        found = sorted(token for token in ids if tokenizer.decode([token]).strip())
        if not found:
            raise ValueError(f"no token of {self._weights} begins the answer {answer!r}")
        return found

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoProcessor

        hush_transformers()
        load: Any = AutoProcessor.from_pretrained
        processor = load(self._weights, **self._source)
        # The answer follows the last token, so padding stands before the first.
        processor.tokenizer.padding_side = "left"
        return processor

    @cached_property
    def _network(self) -> Any:
        from transformers import AutoModelForImageTextToText

        # Declarations say a name, for which components are given the dtype.
        dtype = getattr(torch, self._dtype) if isinstance(self._dtype, str) else self._dtype
        network = whole_network(
            AutoModelForImageTextToText, self._weights, dtype=dtype, **self._source
        )
        return network.to(self._device).requires_grad_(False).eval()


class VlmEndpoint:
    """A model behind an OpenAI-compatible server that takes images.

    Args:
        url: of the API, e.g. ``http://localhost:8000/v1``.
        model: its name there.
        key_variable: environment variable that holds the API key; empty sends none.
        instruction: what follows each question.
        top_logprobs: how many first tokens the server is asked for; what it leaves out counts as
            improbable.
        logprobs: whether the server gives probabilities. Without them, the answer's first word
            counts as certain.
        timeout_s: how long an answer may take, seconds.

    Raises:
        ValueError: as :class:`hypernoise.methods.llm.Endpoint`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key_variable: str = "",
        instruction: str = INSTRUCTION,
        top_logprobs: int = 20,
        logprobs: bool = True,
        timeout_s: float = 120.0,
    ) -> None:
        new_tokens = 1 if logprobs else 8
        self._endpoint = Endpoint(url, model, key_variable, new_tokens, 0.0, timeout_s)
        self._url = url
        self._instruction = instruction
        asked = {"logprobs": True, "top_logprobs": top_logprobs}
        self._options: dict[str, Any] = asked if logprobs else {}

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
        """As :class:`harness.benchmarks.questions.Answerer` says.

        Raises:
            ConnectionError: the server cannot be reached, or refuses.
            ValueError: its reply has another form, or names neither yes nor no.
        """
        asked = [[(question, "") for question in those] for those in questions]
        return self._asked(images, asked, self._yes)

    def answer_probability(
        self, images: Images, asked: Sequence[Sequence[tuple[str, str]]]
    ) -> Probabilities:
        """As :class:`harness.benchmarks.questions.AnswerJudge` says; raises as above."""
        return self._asked(images, asked, matching_probability)

    def check_answer(self, question: str, answer: str) -> None:
        """As :class:`harness.benchmarks.questions.AnswerJudge` says; the server is not asked.

        Raises:
            ValueError: the answer is not one word.
        """
        surface_forms(answer)

    def _asked(
        self, images: Images, asked: Sequence[Sequence[tuple[str, str]]], read: Any
    ) -> Probabilities:
        urls = []
        for picture in _pictures(images):
            buffer = io.BytesIO()
            picture.save(buffer, "PNG")
            urls.append(f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}")
        return [
            [read(self._first_tokens(url, question), expected) for question, expected in those]
            for url, those in zip(urls, asked, strict=True)
        ]

    def _yes(self, first: Mapping[str, float], _: str) -> float:
        yes, no = (matching_probability(first, word) for word in (_YES, _NO))
        return share_of_yes(yes, no, f"{self._url} answers {', '.join(map(repr, first))}")

    def _first_tokens(self, url: str, question: str) -> dict[str, float]:
        image = {"type": "image_url", "image_url": {"url": url}}
        chat = _chat(image, f"{question} {self._instruction}".strip())
        text = self._endpoint.reply(chat, **self._options)
        try:
            choice = json.loads(text)["choices"][0]
            if not self._options:
                return {choice["message"]["content"].split()[0].strip(".,!"): 1.0}
            top = choice["logprobs"]["content"][0]["top_logprobs"]
            # A server may list tokens that look alike, each with its own share.
            found: dict[str, float] = {}
            for token, share in ((each["token"], math.exp(each["logprob"])) for each in top):
                found[token] = found.get(token, 0.0) + share
            return found
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self._url} gives no {'probabilities' if self._options else 'answer'} "
                f"({type(error).__name__}: {error}): {text[:200]!r}. Where a server has no "
                "probabilities, logprobs=False counts its words"
            ) from error


def _chat(image: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [dict(image), {"type": "text", "text": text}]}]


def _pictures(images: Images) -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in to_uint8(torch.from_numpy(images))]
