"""Vision-language models as answerers: a tiny random one, and a local server."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from chat_server import Server
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLTextConfig,
    Qwen3VLVisionConfig,
)
from urllib3 import Retry

from harness.benchmarks.protocol import Images
from harness.benchmarks.seen_images import can_reuse, encoded, gathered
from harness.benchmarks.surface_forms import distinct, matching_probability, surface_forms
from harness.benchmarks.vlm import Vlm, VlmEndpoint
from hypernoise.weights.stand_ins import Shelf

WORDS = (
    "<pad> <unk> <image> USER: ASSISTANT: a red cat? bench? Answer in one word. yes no Yes No two"
)
CHAT = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}ASSISTANT:"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA of two layers with random weights, as transformers saves one."""
    words = {word: index for index, word in enumerate(WORDS.split())}
    model = Tokenizer(WordLevel(words, unk_token="<unk>"))
    model.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=["<image>"],
    )
    size = {"height": 16, "width": 16}
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**narrow, num_hidden_layers=2, image_size=16, patch_size=8)
    text = LlamaConfig(
        **narrow, num_hidden_layers=2, num_key_value_heads=2, vocab_size=len(words), pad_token_id=0
    )
    torch.manual_seed(1)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words["<image>"],
        vision_feature_layer=-1,
    )
    network = LlavaForConditionalGeneration(config)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("llava")
    network.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def vlm(folder: Path) -> Vlm:
    return Vlm(str(folder), dtype="float32", batch_size=2)


class Spaced:
    """A tokenizer that parts spaces, digits and words, as those of numbers do."""

    unk_token_id = None
    pieces = (" ", "2", "two", "Two")

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        start = max((piece for piece in self.pieces if text.startswith(piece)), key=len)
        return [self.pieces.index(start)]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.pieces[index] for index in ids)


def test_a_space_is_no_part_of_any_answer() -> None:
    judge = Vlm("weights", revision="0" * 40)
    vars(judge)["_processor"] = SimpleNamespace(tokenizer=Spaced())
    assert judge._token_ids("two") == [1, 2, 3]


@pytest.fixture
def server() -> Iterator[Any]:
    started: list[Server] = []

    def start(*replies: tuple[int, str]) -> Server:
        started.append(Server(*replies))
        return started[-1]

    yield start
    for each in started:
        each.close()


def images(n: int = 2) -> Images:
    made = np.random.default_rng(0).integers(0, 256, (n, 3, 16, 16)) / np.float32(255)
    return made.astype(np.float32)


QUESTIONS = [["a cat?", "a red bench?"], ["a red red red cat?"]]


def test_yes_is_its_share_of_the_first_generated_token(vlm: Vlm, folder: Path) -> None:
    processor, network = vlm._processor, vlm._network
    image = Image.fromarray((images()[0] * 255).round().astype(np.uint8).transpose(1, 2, 0))
    text = "USER: <image> a cat? Answer in one word. ASSISTANT:"
    inputs = processor(images=image, text=text, return_tensors="pt")
    made = network.generate(
        **inputs,
        max_new_tokens=1,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    first = made.scores[0].softmax(-1)[0]
    place = {word: WORDS.split().index(word) for word in ("yes", "Yes", "no", "No")}
    yes, no = (float(first[[place[w], place[w.title()]]].sum()) for w in ("yes", "no"))
    ((ours,),) = vlm.yes_probability(images(1), [["a cat?"]])
    assert ours == pytest.approx(yes / (yes + no), abs=1e-6)
    ((share,),) = vlm.answer_probability(images(1), [[("a cat?", "Yes")]])
    assert share == pytest.approx(yes, abs=1e-6)


def test_answers_depend_on_neither_batch_nor_padding(vlm: Vlm, folder: Path) -> None:
    together = vlm.yes_probability(images(), QUESTIONS)
    alone = Vlm(str(folder), dtype="float32", batch_size=1).yes_probability(images(), QUESTIONS)
    assert [len(those) for those in together] == [2, 1]
    for those, others in zip(together, alone, strict=True):
        assert those == pytest.approx(others, abs=1e-5)


def test_answers_depend_on_image_and_question(vlm: Vlm) -> None:
    first, second = vlm.yes_probability(images(), [QUESTIONS[0], QUESTIONS[0]])
    assert abs(first[0] - first[1]) > 1e-4
    assert abs(first[0] - second[0]) > 1e-4


def test_each_image_is_encoded_once_for_all_its_questions(
    vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    hook = vlm._network.model.vision_tower.register_forward_hook(
        lambda _module, _inputs, output: encoded.append(len(output.last_hidden_state))
    )
    asked = [["a cat?", "a red bench?", "a bench?"], ["a red cat?"], ["a cat?", "two cat?"]]
    once = vlm.yes_probability(images(3), asked)
    assert encoded == [2, 1]
    monkeypatch.setattr("harness.benchmarks.vlm.can_reuse", lambda _: False)
    again = vlm.yes_probability(images(3), asked)
    hook.remove()
    assert sum(encoded[2:]) == sum(map(len, asked))
    for those, others in zip(once, again, strict=True):
        assert those == pytest.approx(others, abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2_5_VLForConditionalGeneration"),
        ("Qwen/Qwen3-VL-8B-Instruct", "Qwen3VLForConditionalGeneration"),
        ("some/other-model", "LlavaForConditionalGeneration"),
    ],
)
def test_a_stand_in_is_of_the_family_that_it_stands_for(
    weights: str, expected: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    shelf = Shelf(tmp_path)
    made = Vlm.stand_in(shelf, weights=weights)
    small = Vlm(str(shelf.repository(weights, made["revision"])))
    found = small.yes_probability(images(2), [["a cat?", "a red dog?"], ["a cat?"]])
    assert type(small._network).__name__ == expected
    assert [len(those) for those in found] == [2, 1]
    assert len({*found[0], *found[1]}) == 3
    assert all(0 < share < 1 for those in found for share in those)


def qwen() -> tuple[Any, dict[str, Any]]:
    """A model with encodings of inner layers too, and inputs of two images."""
    text = Qwen3VLTextConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        rope_parameters={"rope_type": "default", "mrope_section": [4, 2, 2]},
    )
    vision = Qwen3VLVisionConfig(
        depth=2,
        hidden_size=32,
        intermediate_size=64,
        num_heads=2,
        out_hidden_size=32,
        patch_size=4,
        temporal_patch_size=2,
        num_position_embeddings=16,
        deepstack_visual_indexes=[0],
    )
    special = {"image_token_id": 1, "video_token_id": 2, "vision_start_token_id": 3}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **special)
    ids = torch.tensor([[3, 1, 1, 1, 1, 7, 8], [3, 1, 1, 1, 1, 9, 7]])
    return Qwen3VLForConditionalGeneration(config), {
        "input_ids": ids,
        "mm_token_type_ids": (ids == 1).int(),
        "pixel_values": torch.randn(32, 96),
        "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 4]]),
    }


def internvl() -> tuple[Any, dict[str, Any]]:
    """A model that cuts an image into tiles, and inputs of two images with two each."""
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    vision = InternVLVisionConfig(
        **narrow, num_hidden_layers=1, image_size=[8, 8], patch_size=[4, 4]
    )
    text = Qwen2Config(**narrow, num_hidden_layers=2, num_key_value_heads=2, vocab_size=40)
    config = InternVLConfig(vision_config=vision, text_config=text, image_token_id=1)
    ids = torch.tensor([[1, 1, 7, 8], [1, 1, 9, 7]])
    return InternVLForConditionalGeneration(config), {
        "input_ids": ids,
        "pixel_values": torch.randn(4, 3, 8, 8),
    }


@pytest.mark.parametrize("family", [qwen, internvl])
def test_encodings_stand_for_pixels_in_other_families(family: Any) -> None:
    torch.manual_seed(0)
    network, inputs = family()
    network.eval()
    assert can_reuse(network)
    with torch.no_grad():
        expected = network(**inputs).logits
        seen = gathered([encoded(network, inputs)], 2)
        assert seen is not None
        # The second image twice, the first one once.
        asked = {name: inputs[name][[1, 0, 1]] for name in inputs if inputs[name].shape[0] == 2}
        found = network(**asked, mm_encoder_outputs=seen.of([1, 0, 1])).logits
    torch.testing.assert_close(found, expected[[1, 0, 1]], rtol=0, atol=1e-6)
    assert (expected[0, -1] - expected[1, -1]).abs().max() > 1e-3


def test_encodings_that_do_not_part_into_images_are_not_reused() -> None:
    assert gathered([{"pooler_output": torch.zeros(3, 4, 8)}], 2) is None
    uneven = {"pooler_output": torch.zeros(2, 4, 8), "deepstack_features": [torch.zeros(8, 8)]}
    assert gathered([uneven], 2) is None


def test_an_answer_that_no_token_begins_is_refused(vlm: Vlm) -> None:
    vlm.check_answer("How many cats?", "two")
    with pytest.raises(ValueError, match=r"no token of .* begins the answer 'three'"):
        vlm.check_answer("How many cats?", "three")
    with pytest.raises(ValueError, match=r"no token of .* begins the answer 'three'"):
        vlm.answer_probability(images(1), [[("How many cats?", "three")]])


def test_a_model_of_the_hub_needs_a_commit() -> None:
    with pytest.raises(ValueError, match="commit"):
        Vlm("someone/some-vlm")


def test_an_answer_has_the_published_forms() -> None:
    assert surface_forms("Yes") == ("yes", "Yes", " yes", " Yes")
    assert surface_forms("four") == ("four", "Four", "4", " four", " Four", " 4")
    with pytest.raises(ValueError, match="one word"):
        surface_forms("in front")


def test_a_token_that_begins_both_answers_says_nothing() -> None:
    assert distinct({"yes": [1, 5], "no": [2, 5]}) == {"yes": [1], "no": [2]}
    with pytest.raises(ValueError, match="'no' starts with no token of its own"):
        distinct({"yes": [1, 5], "no": [5]})


def reply(**tokens: float) -> tuple[int, str]:
    """A chat reply whose first token has these probabilities."""
    top = [{"token": token, "logprob": math.log(p)} for token, p in tokens.items()]
    choice = {"message": {"content": "x"}, "logprobs": {"content": [{"top_logprobs": top}]}}
    return 200, json.dumps({"choices": [choice]})


def test_a_server_is_sent_the_image_and_asked_for_probabilities(server: Any) -> None:
    started = server(reply(Yes=0.5, yes=0.1, No=0.2, maybe=0.2))
    endpoint = VlmEndpoint(started.url, "qwen", top_logprobs=7)
    ((share, same), _) = endpoint.yes_probability(images(), [["a cat?", "a red cat?"], ["x?"]])
    assert share == same == pytest.approx(0.6 / 0.8)
    (_, body, _), second, third = started.asked
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 7)
    image, text = body["messages"][0]["content"]
    assert text["text"] == "a cat? Answer in one word."
    sent = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(sent)), dtype=np.float32).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels, (images()[0] * 255).round())
    assert second[1]["messages"][0]["content"][0] == image != third[1]["messages"][0]["content"][0]


def test_a_server_says_how_probable_an_answer_is(server: Any) -> None:
    endpoint = VlmEndpoint(server(reply(four=0.25, **{"4": 0.5, "five": 0.1})).url, "qwen")
    asked = [[("How many cats are in the image?", "four")]]
    assert endpoint.answer_probability(images(1), asked) == [[pytest.approx(0.75)]]
    assert matching_probability({" Four": 0.2, "fourteen": 0.3}, "four") == 0.2


def test_without_probabilities_only_what_was_asked_for_counts(server: Any) -> None:
    text = json.dumps({"choices": [{"message": {"content": "Yes, it is."}}]})
    started = server((200, text))
    with pytest.raises(ValueError, match=r"gives no probabilities.*logprobs=False"):
        VlmEndpoint(started.url, "qwen").yes_probability(images(1), [["a cat?"]])
    endpoint = VlmEndpoint(started.url, "qwen", logprobs=False)
    assert endpoint.yes_probability(images(1), [["a cat?"]]) == [[1.0]]


def test_neither_yes_nor_no_is_an_error_that_says_what_came(server: Any) -> None:
    endpoint = VlmEndpoint(server(reply(perhaps=0.9)).url, "qwen")
    with pytest.raises(ValueError, match="answers 'perhaps': neither yes nor no"):
        endpoint.yes_probability(images(1), [["a cat?"]])


def test_a_server_that_refuses_is_named(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "sleep", lambda *_: None)
    started = server((503, "busy"))
    with pytest.raises(ConnectionError, match="refused: 503"):
        VlmEndpoint(started.url, "qwen").yes_probability(images(1), [["a cat?"]])
    # Once, and five times again.
    assert len(started.asked) == 6
