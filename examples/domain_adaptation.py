"""Domain adaptation: what it costs when the two sides speak of different things, and what known pairs buy back.

    pip install '.[examples]' && python -m examples.domain_adaptation

MiniLM's space is aligned to the Universal Sentence Encoder's, from noun glosses of WordNet on one side and verb and
adjective glosses on the other; from glosses and from prose; and, to compare, from other texts of the same kind. The
score is top-1 among held-out glosses of both kinds, or of glosses and prose, embedded by both.
"""

import numpy as np
from benchmarks.corpora import synsets, texts
from benchmarks.encoders import embeddings

from examples.common import Panels, curves, options, panel_table, sweep
from minivec import MiniVec2VecAligner, evaluate_alignment

SOURCE, TARGET = "minilm", "use"
ROWS = 20_000  # of glosses that are embedded
TEST, KNOWN = 1_000, 1_000
SIZES = (0, 200, 1_000)  # numbers of known pairs


def main() -> None:
    """Print the tables and draw the picture."""
    arguments = options(__doc__)
    rows = max(arguments.rows, TEST)
    glosses = min(ROWS, 5 * rows)
    prose = min(2 * rows, 20_000)
    print("embedding glosses and prose by both encoders, unless cached", flush=True)
    A, B = (embeddings("glosses", encoder, glosses) for encoder in (SOURCE, TARGET))
    prose_A, prose_B = (embeddings("prose", encoder, prose) for encoder in (SOURCE, TARGET))

    kinds = synsets()
    kind = np.array([kinds[text].split(".")[0] for text in texts("glosses")[:glosses]])
    nouns, others = np.flatnonzero(kind == "noun"), np.flatnonzero((kind == "verb") | (kind == "adj"))
    every = np.arange(glosses)
    panels: Panels = {}
    for title, first, second in (
        ("nouns / other nouns", (A, B, nouns), (A, B, nouns)),
        ("nouns / verbs and adjectives", (A, B, nouns), (A, B, others)),
        ("glosses / other glosses", (A, B, every), (A, B, every)),
        ("glosses / prose", (A, B, every), (prose_A, prose_B, np.arange(prose))),
    ):
        panels |= domains(title, *first, *second, rows)
    panel_table(panels)
    curves(panels, "top-1 among held-out texts", arguments.output / "domain_adaptation.png")


def domains(title: str, A1, B1, first: np.ndarray, A2, B2, second: np.ndarray, rows: int) -> Panels:
    """Align A's vectors of the ``first`` domain with B's of the ``second``; texts of both are held out to test.

    ``A1`` and ``B1`` hold both encoders' vectors of the first domain's corpus, ``A2`` and ``B2`` of the second's;
    ``first`` and ``second`` are the domains' rows there. Without a shift, nothing but the unpaired fit is made.
    """
    same = np.array_equal(first, second)
    half = min(TEST, len(first) // 8, len(second) // 8) // 2
    tests = first[:half], second[half : 2 * half] if same else second[:half]
    test_A, test_B = (np.concatenate([X1[tests[0]], X2[tests[1]]]) for X1, X2 in ((A1, A2), (B1, B2)))
    known, rest = np.split(first[2 * half :], [min(KNOWN, len(first) // 8)])  # known: texts of the first domain
    other = rest[rows:] if same else second[2 * half :]
    XA, XB = A1[rest[:rows]], B2[other[:rows]]
    print(f"{title}: {len(XA):,} and {len(XB):,} rows, {len(test_A):,} to test", flush=True)

    def score(aligner: MiniVec2VecAligner) -> float:
        return evaluate_alignment(aligner, test_A, test_B)["top1_accuracy"]

    return sweep(XA, XB, A1[known], B1[known], {title: score}, (0,) if same else SIZES)


if __name__ == "__main__":
    main()
