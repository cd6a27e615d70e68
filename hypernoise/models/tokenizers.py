"""Tokenizers of the published classes and sizes, made without any file.

Real vocabularies come with the checkpoints. Random weights know no words, so these spell a prompt
in pieces of up to three letters: about as many tokens as the real ones make, in sequences that are
padded and cut to the same length. What a network costs does not depend on which tokens it sees.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from itertools import chain, islice, product
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer, GemmaTokenizer, Qwen2Tokenizer, T5Tokenizer

#: What Qwen3's template makes of one message that is to be answered without thinking, or with it.
_QWEN_CHAT = (
    "<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n<|im_start|>assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
_QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
_CHARACTERS = [chr(code) for code in range(ord("!"), ord("~") + 1)]


def clip_tokenizer(vocab_size: int, max_tokens: int, **special: str) -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer; its last two tokens are start and end of text."""
    known = [*_CHARACTERS, *(f"{character}</w>" for character in _CHARACTERS)]
    vocab, merges = _byte_pairs([], known, ["<|startoftext|>", "<|endoftext|>"], vocab_size)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_tokens, **special)


def gemma_tokenizer(vocab_size: int, max_tokens: int) -> GemmaTokenizer:
    """Gemma's byte-pair tokenizer."""
    first = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocab, merges = _byte_pairs(first, ["▁", "\n", *_CHARACTERS], [], vocab_size)
    return GemmaTokenizer(vocab=vocab, merges=merges, model_max_length=max_tokens)


def qwen2_tokenizer(vocab_size: int, max_tokens: int) -> Qwen2Tokenizer:
    """Qwen's tokenizer of byte pairs, with its chat template."""
    known = sorted(ByteLevel.alphabet())
    vocab, merges = _byte_pairs([], known, _QWEN_SPECIAL, vocab_size)
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        model_max_length=max_tokens,
        extra_special_tokens=_QWEN_SPECIAL[1:],
        chat_template=_QWEN_CHAT,
    )


def t5_tokenizer(vocab_size: int, max_tokens: int) -> T5Tokenizer:
    """T5's unigram tokenizer; fewer and longer pieces are likelier."""
    first = ["<pad>", "</s>", "<unk>"]
    known = ["▁", *_CHARACTERS]
    pieces = ["".join(piece) for piece in _pieces(vocab_size - len(first) - len(known))]
    tokens = _filled(first, [*known, *pieces], [], vocab_size)
    scored = [(token, -2.0 - len(token)) for token in tokens]
    return T5Tokenizer(vocab=scored, extra_ids=0, model_max_length=max_tokens)


#: Tokenizers by the name of their class.
TOKENIZERS: dict[str, Callable[..., Any]] = {
    "CLIPTokenizer": clip_tokenizer,
    "GemmaTokenizer": gemma_tokenizer,
    "Qwen2Tokenizer": qwen2_tokenizer,
    "T5Tokenizer": t5_tokenizer,
}


def _byte_pairs(
    first: list[str], known: list[str], last: list[str], vocab_size: int
) -> tuple[dict[str, int], list[Any]]:
    merges = list(_pieces(vocab_size - len(first) - len(known) - len(last)))
    pieces = [left + right for left, right in merges]
    tokens = _filled(first, [*known, *pieces], last, vocab_size)
    return {token: index for index, token in enumerate(tokens)}, merges


def _pieces(room: int) -> list[tuple[str, str]]:
    """The first ``room`` pieces of two, then three letters, each as what it is merged from."""
    letters = string.ascii_lowercase
    pairs = ((left, right) for left in letters for right in letters)
    triples = ((left + middle, right) for left, middle, right in product(letters, repeat=3))
    return list(islice(chain(pairs, triples), max(0, room)))


def _filled(first: list[str], known: list[str], last: list[str], vocab_size: int) -> list[str]:
    missing = vocab_size - len(first) - len(known) - len(last)
    if missing < 0:
        raise ValueError(f"a vocabulary of {vocab_size} tokens is {-missing} too small")
    return [*first, *known, *(f"<filler_{index}>" for index in range(missing)), *last]
