"""Record what the originals score with seeded random weights.

    python tests/support/parity/make_environment.py FOLDER
    PYTHONPATH=.:tests/support FOLDER/bin/python -m parity.record hpsv2 clip_score pickscore \
        imagereward aesthetic

The originals run unchanged but for imports that scoring never uses, downloads, and sizes: their own
classes get the small configurations of ``small.py``. With ``--full FILE`` sizes stay as published;
``compare_full.py`` compares that file with ours.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import io
import json
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from parity import small
from parity.pairs import pairs
from parity.seeded import fill
from PIL import Image

import hypernoise  # noqa: F401  mends torchvision beside a CPU torch

FIXTURES = Path(__file__).parent / "fixtures"
Score = Callable[[Image.Image, str], float]


def hpsv2(full: bool) -> tuple[Score, dict[str, Any]]:
    """``hpsv2.img_score.score`` of hpsv2 1.2.0."""
    stand_in("clint.textui", progress=None)
    img_score = importlib.import_module("hpsv2.img_score")
    factory = importlib.import_module("hpsv2.src.open_clip.factory")
    if not full:
        factory._MODEL_CONFIGS["ViT-H-14"] = small.OPEN_CLIP
    # The package starts from LAION's weights, which the checkpoint then replaces.
    factory.get_pretrained_cfg = lambda *_: {"mean": None}
    factory.download_pretrained = lambda *_, **__: "LAION's"
    factory.load_checkpoint = lambda *_: None
    img_score.initialize_model()
    network = img_score.model_dict["model"]
    weights = fill(network)
    img_score.torch.load = lambda *_, **__: {"state_dict": network.state_dict()}

    def score(image: Image.Image, prompt: str) -> float:
        return float(img_score.score(image, prompt, cp="seeded")[0])

    return score, {"weights": weights, "format": ".pt"}


def clip_score(full: bool) -> tuple[Score, dict[str, Any]]:
    """open_clip 2.20's own model and preprocessing, and ReNO's formula."""
    import open_clip

    if not full:
        open_clip.factory._MODEL_CONFIGS["ViT-H-14"] = small.OPEN_CLIP
    network, _, preprocess = open_clip.create_model_and_transforms("ViT-H-14")
    weights = fill(network.eval())

    def score(image: Image.Image, prompt: str) -> float:
        seen = network.encode_image(preprocess(image).unsqueeze(0))
        read = network.encode_text(open_clip.tokenize([prompt]))
        seen, read = (vector / vector.norm(dim=-1, keepdim=True) for vector in (seen, read))
        return float((seen @ read.T)[0, 0] * network.logit_scale.exp())

    return score, {"weights": weights, "format": ".safetensors"}


def pickscore(_full: bool) -> tuple[Score, dict[str, Any]]:
    """The published usage: transformers' CLIPProcessor and CLIPModel (4.27.4)."""
    import transformers

    network = transformers.CLIPModel(transformers.CLIPConfig(**small.CLIP)).eval()
    weights = fill(network)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = transformers.CLIPTokenizer(*clip_vocabulary(Path(folder)))
    processor = transformers.CLIPProcessor(transformers.CLIPImageProcessor(), tokenizer)
    options = {"padding": True, "truncation": True, "max_length": 77, "return_tensors": "pt"}

    def score(image: Image.Image, prompt: str) -> float:
        seen = network.get_image_features(**processor(images=image, **options))
        read = network.get_text_features(**processor(text=prompt, **options))
        seen, read = (vector / torch.norm(vector, dim=-1, keepdim=True) for vector in (seen, read))
        return float((network.logit_scale.exp() * (read @ seen.T))[0, 0])

    return score, {"weights": weights, "format": ".safetensors"}


def clip_vocabulary(folder: Path) -> tuple[str, str]:
    """CLIP's vocabulary in transformers' form, from the copy that comes with open_clip."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    words = dict(tokenizer.encoder)
    for ours, theirs in (("start_of_text", "startoftext"), ("end_of_text", "endoftext")):
        words[f"<|{theirs}|>"] = words.pop(f"<{ours}>")
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    ranked = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in ranked)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / "vocab.json"), str(folder / "merges.txt")


def imagereward(full: bool) -> tuple[Score, dict[str, Any]]:
    """``ImageReward.score`` of image-reward 1.5."""
    module = import_imagereward("ImageReward.ImageReward")
    blip = importlib.import_module("ImageReward.models.BLIP.blip")
    pretrain = importlib.import_module("ImageReward.models.BLIP.blip_pretrain")
    sizes = {**small.MED_CONFIG, **({} if full else small.bert())}
    if not full:
        vision = small.VISION
        width = vision["hidden_size"]
        pretrain.create_vit = lambda *_: (
            blip.VisionTransformer(
                img_size=224,
                patch_size=16,
                embed_dim=width,
                depth=vision["num_hidden_layers"],
                num_heads=vision["num_attention_heads"],
            ),
            width,
        )
        head = module.MLP
        module.MLP = lambda _: head(sizes["hidden_size"])
    tokenizer = blip.BertTokenizer
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, config = Path(folder, "vocab.txt"), Path(folder, "med_config.json")
        vocabulary.write_text("\n".join(small.bert_vocabulary()), encoding="utf-8")
        config.write_text(json.dumps(sizes), encoding="utf-8")
        blip.BertTokenizer = types.SimpleNamespace(
            from_pretrained=lambda _: tokenizer(str(vocabulary))
        )
        network = module.ImageReward(str(config)).eval()
    weights = fill(network)
    return lambda image, prompt: network.score(prompt, image), {
        "weights": weights,
        "format": ".pt",
    }


def aesthetic(_full: bool) -> tuple[Score, dict[str, Any]]:
    """``AestheticScore.score`` of image-reward 1.5, which is LAION's predictor."""
    module = import_imagereward("ImageReward.models.AestheticScore")
    import clip

    sizes = small.OPEN_CLIP_QUICK
    vision, text = sizes["vision_cfg"], sizes["text_cfg"]
    network = clip.model.CLIP(
        sizes["embed_dim"],
        vision["image_size"],
        vision["layers"],
        vision["width"],
        vision["patch_size"],
        text["context_length"],
        text["vocab_size"],
        text["width"],
        text["heads"],
        text["layers"],
    )
    clip.load = lambda *_, **__: (network, clip.clip._transform(vision["image_size"]))
    head = module.MLP
    module.MLP = lambda _: head(sizes["embed_dim"])
    scorer = module.AestheticScore("").eval()
    facts = {"weights": fill(network), "head": fill(scorer.mlp), "format": ".safetensors"}

    def score(image: Image.Image, prompt: str) -> float:
        file = io.BytesIO()
        image.save(file, "png")
        return float(scorer.score(prompt, file))

    return score, facts


def import_imagereward(module: str) -> Any:
    """A module of image-reward, without its trainer and what only that needs."""
    stand_in("fairscale.nn.checkpoint.checkpoint_activations", checkpoint_wrapper=None)
    stand_in("ImageReward.ReFL", parents=False)
    return importlib.import_module(module)


def stand_in(name: str, parents: bool = True, **content: Any) -> None:
    """Put an empty module where an unused import looks for one."""
    parts = name.split(".")
    for length in range(1 if parents else len(parts), len(parts) + 1):
        sys.modules[".".join(parts[:length])] = types.ModuleType(".".join(parts[:length]))
    vars(sys.modules[name]).update(content)


SCORERS = {
    "hpsv2": hpsv2,
    "clip_score": clip_score,
    "pickscore": pickscore,
    "imagereward": imagereward,
    "aesthetic": aesthetic,
}
PACKAGES = {
    "hpsv2": ("hpsv2",),
    "clip_score": ("open_clip_torch",),
    "pickscore": ("transformers",),
    "imagereward": ("image-reward", "transformers", "timm"),
    "aesthetic": ("image-reward", "openai-clip"),
}
FULL = {"hpsv2", "clip_score", "imagereward"}
SHARED_PACKAGES = ("torch", "torchvision", "pillow", "numpy", "scikit-image")


def main() -> None:
    parser = argparse.ArgumentParser(description="Record what the originals score.")
    parser.add_argument("scorer", nargs="+", choices=sorted(SCORERS))
    parser.add_argument("--full", type=Path, help="published sizes, recorded in this file")
    options = parser.parse_args()
    if options.full and not set(options.scorer) <= FULL:
        parser.error(f"published sizes are set up for {', '.join(sorted(FULL))}")
    for name in options.scorer:
        record(name, options.full)


def record(name: str, full: Path | None) -> None:
    score, facts = SCORERS[name](full is not None)
    with torch.no_grad():
        scores = {case: attempt(score, image, prompt) for case, image, prompt in pairs()}
    versions = {p: importlib.metadata.version(p) for p in (*SHARED_PACKAGES, *PACKAGES[name])}
    content = {
        "made_by": "python -m parity.record",
        "versions": versions,
        "scores": scores,
        **facts,
    }
    file = full or FIXTURES / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def attempt(score: Score, image: Image.Image, prompt: str) -> float | None:
    """A score, or None where the original itself fails."""
    try:
        return score(image, prompt)
    except RuntimeError as error:
        print(f"the original fails: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    main()
