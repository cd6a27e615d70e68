"""Record how mmdet 2.28.2 reads Mask2Former's outputs and prepares images for it.

    python tests/support/parity/make_environment.py --mmdet FOLDER
    PYTHONPATH=.:tests/support FOLDER/bin/python -m parity.record_mask2former

mmdet's own classes run: the head's upsampling, the fusion head, and the test pipeline of the config
whose weights GenEval takes. mmcv comes without its compiled operators, which none of this calls:
empty stand-ins take their place. The networks are not run.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import torch
from parity.detections import CASES, Case, packed, photographs, sampled
from parity.record import FIXTURES
from PIL import Image

CONFIG = ".mim/configs/mask2former/mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.py"
PACKAGES = ("mmdet", "mmcv", "torch", "numpy", "opencv-python-headless", "pillow", "scikit-image")
#: Of mmcv's operators, those that mmdet and mmcv import by their full names.
SUBMODULES = (
    "carafe",
    "deform_conv",
    "merge_cells",
    "modulated_deform_conv",
    "multi_scale_deform_attn",
    "nms",
    "roi_align",
    "sync_bn",
)


class Operators(types.ModuleType):
    """Has whatever is imported of it: an empty class, as a base or as a decorator's argument."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {})


def main() -> None:
    sys.modules["mmcv.ops"] = Operators("mmcv.ops")
    for name in SUBMODULES:
        sys.modules[f"mmcv.ops.{name}"] = Operators(f"mmcv.ops.{name}")
    from mmdet.datasets import CocoDataset

    config = read_config()
    content = {
        "made_by": "python -m parity.record_mask2former",
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "classes": CocoDataset.CLASSES,
        "cases": {case.name: instances(case, config) for case in CASES},
        "inputs": {name: network_input(image, config) for name, image in photographs().items()},
    }
    text = json.dumps(content, indent=None, separators=(",", ":")).replace('"scores"', '\n"scores"')
    (FIXTURES / "mask2former.json").write_text(text + "\n", encoding="utf-8")


def read_config() -> Any:
    import mmcv
    import mmdet

    return mmcv.Config.fromfile(str(Path(mmdet.__file__).parent / CONFIG))


def instances(case: Case, config: Any) -> dict[str, Any]:
    """mmdet's instances, sorted by label and falling score; each mask once."""
    from mmdet.models.dense_heads.maskformer_head import MaskFormerHead
    from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead

    classes, masks = case.logits()
    meta = {
        "batch_input_shape": case.padded_size,
        "img_shape": (*case.resized_size, 3),
        "ori_shape": (*case.image_size, 3),
    }
    # The head is a network; its method calls it, and then upsamples what it gives.
    upsampled = MaskFormerHead.simple_test(
        lambda *_: (classes[None, None], masks[None, None]), [], [meta]
    )
    options = {**config.model.test_cfg, "max_per_image": case.top_k}
    fusion = MaskFormerFusionHead(80, 0, test_cfg=options)
    (result,) = fusion.simple_test(*upsampled, [meta], rescale=True)
    labels, boxes, found = result["ins_results"]
    keys = zip(labels.tolist(), (-boxes[:, 4]).tolist(), strict=True)
    order = [place for _, place in sorted((key, place) for place, key in enumerate(keys))]
    texts = [packed(found[place].numpy()) for place in order]
    different = list(dict.fromkeys(texts))
    return {
        "labels": labels[order].tolist(),
        "scores": boxes[order, 4].tolist(),
        "boxes": boxes[order, :4].int().tolist(),
        "mask_of": [different.index(text) for text in texts],
        "masks": different,
    }


def network_input(image: Image.Image, config: Any) -> dict[str, Any]:
    """Sizes and some values of what mmdet's test pipeline makes of a PNG file."""
    from mmdet.datasets import replace_ImageToTensor
    from mmdet.datasets.pipelines import Compose

    pipeline = Compose(replace_ImageToTensor(config.data.test.pipeline))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "image.png"))
        image.save(path)
        data = pipeline({"img_info": {"filename": path}, "img_prefix": None})
    pixels, meta = data["img"][0].data, data["img_metas"][0].data
    sizes = {"padded": "pad_shape", "resized": "img_shape", "image": "ori_shape"}
    return {
        **{name: list(meta[key][:2]) for name, key in sizes.items()},
        "values": sampled(pixels),
    }


if __name__ == "__main__":
    main()
