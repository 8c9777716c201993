"""The paper's encoders on its corpus, where Hugging Face can be reached: ``python -m benchmarks.paper_encoders``.

The encoders are GTR, GTE, Stella, Granite and E5. The texts are passages of Natural Questions, the training split of
``jxm/nq_corpus_dpr``, which is 2.2 GB and is fetched once. There are 60,000 rows a side and 8,192 held-out pairs.
``benchmarks.peers`` makes the fits and the table, and takes all options that are not listed here. Embedding is most of
the work: 128,192 texts by each of five encoders of 110 to 280 million parameters, which needs a GPU.

Without a hub, ``--encoders`` of packages (e5, minilm, mpnet, use) and ``--texts FILE``, a text a line, stand in:

    python -m benchmarks.paper_encoders --encoders minilm use --texts glosses.txt --rows 1000 --test 500
"""

import argparse
import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.corpora import cache, keep, mixed
from benchmarks.encoders import ENCODERS, HUB, HUB_PACKAGES, environment

CORPUS, REVISION = "jxm/nq_corpus_dpr", "156fa8faf1c95e5cb6fd14c499b58dfc8d149f4f"
MOST = 250_000  # passages that are kept, drawn from 5.3 million


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch the texts, then run ``benchmarks.peers`` on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=list(HUB), choices=ENCODERS, metavar="NAME")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="in place of Natural Questions")
    parser.add_argument("--rows", type=int, default=60_000, help="rows a side")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args(arguments)
    if options.worker:
        _work()
        return
    corpus = local(options.texts) if options.texts else natural_questions()
    peers.main(["--corpus", corpus, "--encoders", *options.encoders, "--rows", str(options.rows), *rest])


def local(path: Path) -> str:
    """The name of the corpus of a file's distinct lines, mixed and put into the cache."""
    content = path.read_bytes()
    name = f"{path.stem}-{hashlib.sha1(content).hexdigest()[:8]}"
    keep(name, mixed(line for line in content.decode().splitlines() if line.strip()))
    return name


def natural_questions() -> str:
    """The name of the corpus of passages, fetched on the first call."""
    if not (cache() / "natural-questions.txt.gz").exists():
        python = environment("hub", HUB_PACKAGES)
        command = [str(python), "-m", "benchmarks.paper_encoders", "--worker"]
        subprocess.run(command, cwd=peers.ROOT, env=peers.variables(), check=True)
    return "natural-questions"


def _work() -> None:
    """Keep MOST passages drawn at random (runs in the environment of the hub's encoders)."""
    from datasets import load_dataset

    passages = load_dataset(CORPUS, split="train", revision=REVISION)
    drawn = passages.shuffle(seed=0).select(range(MOST))["text"]
    keep("natural-questions", mixed(" ".join(text.split()) for text in drawn))


if __name__ == "__main__":
    main()
