"""BLIP-VQA on small random networks: transformers' own paths, batches, names of weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity import small
from safetensors.torch import save_file
from transformers import BlipConfig, BlipForQuestionAnswering

from harness.benchmarks.blip_vqa import BlipVqa, asked_form, renamed, resized_positions
from harness.benchmarks.protocol import Images

#: The decoder attends to the text encoder's states, so both are as wide as the image encoder.
VISION = {**small.VISION, "image_size": 64}
TEXT = {**small.bert(), "hidden_size": VISION["hidden_size"]}
QUESTIONS = [["a red bench?", "a cat?"], ["the wooden table with two cups of coffee?"]]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blip") / "vocab.txt"
    path.write_text("\n".join([*small.bert_vocabulary(), "yes", "no"]))
    return path


@pytest.fixture(scope="module")
def original(vocabulary: Path) -> Any:
    """transformers' model with random weights that are wide enough to tell images apart."""
    n_words = len(vocabulary.read_text().splitlines())
    text = {**TEXT, "vocab_size": n_words + 2, "bos_token_id": n_words}
    torch.manual_seed(0)
    model = BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=VISION))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def weights(original: Any, vocabulary: Path) -> Path:
    path = vocabulary.with_name("weights.safetensors")
    tied = set(original._tied_weights_keys)
    state = {k: v.contiguous() for k, v in original.state_dict().items() if k not in tied}
    save_file(state, path)
    return path


def built(weights: Path, vocabulary: Path, **changes: Any) -> BlipVqa:
    return BlipVqa(str(weights), str(vocabulary), VISION, TEXT, **changes)


@pytest.fixture(scope="module")
def blip(weights: Path, vocabulary: Path) -> BlipVqa:
    return built(weights, vocabulary)


def images(n: int = 2) -> Images:
    made = np.random.default_rng(0).integers(0, 256, (n, 3, 40, 48)) / np.float32(255)
    return made.astype(np.float32)


def test_yes_against_no_of_the_first_token_is_what_transformers_generates(
    blip: BlipVqa, original: Any
) -> None:
    words = blip.tokenizer.convert_tokens_to_ids(["yes", "no"])
    for image, those in enumerate(QUESTIONS):
        pixels = blip._pixels(torch.from_numpy(images()[image : image + 1]))
        for question in those:
            made = original.generate(
                torch.tensor(blip.tokens([question])),
                pixel_values=pixels,
                max_new_tokens=1,
                do_sample=False,
                output_scores=True,
                return_dict_in_generate=True,
            )
            yes, no = made.scores[0].softmax(-1)[0, words].tolist()
            ((ours,),) = blip.yes_probability(images()[image : image + 1], [[question]])
            # float32 in another order, through networks whose weights are ten times as wide as
            # trained ones.
            assert ours == pytest.approx(yes / (yes + no), abs=2e-5)


def test_the_loss_of_both_answers_gives_the_same_probability(blip: BlipVqa, original: Any) -> None:
    question = QUESTIONS[0][0]
    pixels = blip._pixels(torch.from_numpy(images()[:1]))
    start = len(blip.tokenizer.get_vocab())
    probability = {}
    for word in ("yes", "no"):
        labels = torch.tensor([[start, blip.tokenizer.convert_tokens_to_ids(word)]])
        asked = torch.tensor(blip.tokens([question]))
        loss = original(asked, pixel_values=pixels, labels=labels).loss
        probability[word] = float(torch.exp(-loss))
    ((ours,),) = blip.yes_probability(images()[:1], [[question]])
    assert ours == pytest.approx(probability["yes"] / sum(probability.values()), abs=2e-5)


def test_answers_depend_on_neither_batch_nor_padding(weights: Path, vocabulary: Path) -> None:
    together = built(weights, vocabulary).yes_probability(images(), QUESTIONS)
    alone = built(weights, vocabulary, batch_size=1).yes_probability(images(), QUESTIONS)
    assert [len(those) for those in together] == [2, 1]
    for those, others in zip(together, alone, strict=True):
        assert those == pytest.approx(others, abs=2e-5)


def test_answers_depend_on_image_and_question(blip: BlipVqa) -> None:
    first, second = blip.yes_probability(images(), [QUESTIONS[0], QUESTIONS[0]])
    assert abs(first[0] - first[1]) > 1e-4
    assert abs(first[0] - second[0]) > 1e-4


def test_an_image_is_encoded_once_for_all_its_questions(
    weights: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blip = built(weights, vocabulary)
    seen: list[int] = []
    blip.network.vision_model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    blip.yes_probability(images(), [["a cat?", "a red bench?", "x?"], ["a cat?", "y?"]])
    assert seen == [2]


def authors_name(name: str) -> str:
    """transformers' name as BLIP's checkpoints have it."""
    for pattern, replacement in (
        (r"^vision_model\.embeddings\.class_embedding$", "visual_encoder.cls_token"),
        (r"^vision_model\.embeddings\.position_embedding$", "visual_encoder.pos_embed"),
        (r"^vision_model\.embeddings\.patch_embedding\.", "visual_encoder.patch_embed.proj."),
        (r"^vision_model\.post_layernorm\.", "visual_encoder.norm."),
        (r"^vision_model\.encoder\.layers\.(\d+)\.", r"visual_encoder.blocks.\1."),
        (r"\.self_attn\.qkv\.", ".attn.qkv."),
        (r"\.self_attn\.projection\.", ".attn.proj."),
        (r"(visual_encoder.*)\.layer_norm([12])\.", r"\1.norm\2."),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def test_the_authors_checkpoint_answers_as_transformers_does(
    blip: BlipVqa, original: Any, vocabulary: Path, tmp_path: Path
) -> None:
    state = {authors_name(name): tensor for name, tensor in original.state_dict().items()}
    assert not any(name.startswith("vision_model") for name in state)
    state["text_encoder.embeddings.position_ids"] = torch.arange(512)[None]
    path = tmp_path / "model_base_vqa_capfilt_large.pth"
    torch.save({"model": state, "epoch": 9}, path)
    answers = built(path, vocabulary).yes_probability(images(), QUESTIONS)
    # The same weights, laid out otherwise in memory: some CPUs' matrix products round differently.
    for those, others in zip(answers, blip.yes_probability(images(), QUESTIONS), strict=True):
        assert those == pytest.approx(others, abs=2e-5)


def test_names_of_transformers_stay() -> None:
    tensor = torch.zeros(1)
    names = {
        "vision_model.post_layernorm.weight": tensor,
        "text_decoder.cls.predictions.bias": tensor,
    }
    assert renamed(names) == names


def test_positions_of_another_size_are_resized_around_the_class_token() -> None:
    positions = torch.linspace(0, 1, 1 + 16).view(1, -1, 1).expand(1, 17, 4).contiguous()
    resized = resized_positions(positions, 36)
    assert resized.shape == (1, 37, 4)
    torch.testing.assert_close(resized[:, 0], positions[:, 0])
    # Still a ramp: the mean of a bicubic resize stays close to the grid's.
    torch.testing.assert_close(resized[:, 1:].mean(), positions[:, 1:].mean(), atol=1e-3, rtol=0)
    assert resized_positions(positions, 16) is positions


def test_questions_are_cleaned_as_in_the_original() -> None:
    assert asked_form("The white (and red) clock: 11:44.?") == "the white and red clock 1144?"
    assert len(asked_form("word " * 60 + "?").split()) == 50


def test_weights_to_download_need_a_hash(vocabulary: Path) -> None:
    with pytest.raises(ValueError, match=r"no '#sha256='"):
        BlipVqa("https://example.org/model_base_vqa_capfilt_large.pth", str(vocabulary))


def test_a_vocabulary_without_the_answers_is_refused(weights: Path, tmp_path: Path) -> None:
    words = [*small.bert_vocabulary(), "yeah", "nope"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(ValueError, match="lacks 'yes' or 'no'"):
        built(weights, tmp_path / "vocab.txt").yes_probability(images(1), [["a cat?"]])
