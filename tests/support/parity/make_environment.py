"""Make an environment in which the originals run: python make_environment.py [--mmdet] FOLDER

With ``--mmdet`` it is that of GenEval's detector, which excludes the others.

hpsv2 and image-reward pin versions that exclude each other and ours, so both are installed without
their dependencies. What they lack is mended here or in ``record.py``:

- hpsv2 1.2.0 ships without its vocabulary: open_clip's copy of the same file is put in its place;
- hpsv2 imports clint for a progress bar, image-reward fairscale for checkpointing and diffusers for
  a trainer: none is used in scoring, and ``record.py`` gives them empty stand-ins;
- image-reward needs the transformers of its time (4.27.4) and pkg_resources (setuptools < 81);
- mmcv 1.7 is built without its compiled operators, and needs pkg_resources to be built at all.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

#: What both sides must share, so that only the scorers differ, comes from the project's own pins.
SHARED = ("torch", "torchvision", "pillow")
ORIGINALS = (
    "hpsv2==1.2.0",
    "image-reward==1.5",
    "open_clip_torch==2.20.0",
    "openai-clip==1.0.1",
    "timm==0.6.13",
    "transformers==4.27.4",
    "tokenizers==0.13.3",
)
OTHERS = (
    "ftfy",
    "huggingface_hub<0.26",
    "lazy-loader",
    "numpy<2",
    "regex",
    "requests",
    "scikit-image==0.25.2",
    "sentencepiece",
    "setuptools<81",
)
MMDET = ("mmdet==2.28.2", "mmcv==1.7.2")
MMDET_OTHERS = (
    "addict==2.4.0",
    "lazy-loader",
    "matplotlib",
    "numpy>=2",
    "opencv-python-headless==5.0.0.93",
    "packaging",
    "pycocotools==2.0.11",
    "pyyaml",
    "scikit-image==0.26.0",
    "scipy",
    "setuptools<81",
    "six",
    "terminaltables==3.1.10",
    "wheel",
    "yapf==0.43.0",
)
TORCH_NEEDS = ("filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions")


def main() -> None:
    folder = Path(sys.argv[-1])
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
    if sys.argv[1] == "--mmdet":
        install(folder, *MMDET_OTHERS, *TORCH_NEEDS, *pins(("pillow",)))
        install(folder, "--no-deps", *pins())
        install(folder, "--no-deps", "--no-build-isolation", *MMDET)
        return
    install(folder, "--no-deps", *pins(), *ORIGINALS)
    install(folder, *OTHERS, *TORCH_NEEDS, *pins(("pillow",)))
    packages = next((folder / "lib").glob("python3*")) / "site-packages"
    name = "bpe_simple_vocab_16e6.txt.gz"
    shutil.copy(packages / "open_clip" / name, packages / "hpsv2" / "src" / "open_clip" / name)


def pins(names: tuple[str, ...] = SHARED) -> list[str]:
    lines = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line.partition("==")[0].lower() in names]


def install(folder: Path, *what: str) -> None:
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", *what], check=True)


if __name__ == "__main__":
    main()
