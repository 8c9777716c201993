"""Multi-modal: emoji as pictures and as names, with no pair known and with more and more of them.

    pip install '.[examples]' && python -m examples.multi_modal

The drawings of four vendors go through EfficientNet-Lite0, trained on photographs, and the mean of the four is an
emoji's picture vector; its Unicode name, such as "grinning face with smiling eyes", goes through MiniLM. The score is
recall at 10 among held-out emoji: of the right name for a picture, and of the right picture for a name.
"""

import numpy as np
from benchmarks.corpora import texts
from benchmarks.encoders import embeddings

from examples.common import curves, options, panel_table, sweep
from minivec import MiniVec2VecAligner, evaluate_alignment

TEST, SEED = 500, 0  # at most a quarter is held out to test


def main() -> None:
    """Print the table and draw the picture."""
    arguments = options(__doc__)
    count = min(len(texts("emoji-names")), arguments.rows)
    print("embedding pictures and names, unless cached", flush=True)
    pictures, names = (embeddings("emoji-names", encoder, count) for encoder in ("efficientnet", "minilm"))
    test = min(TEST, count // 4)
    A, B = pictures[test:], names[test:]
    rng = np.random.default_rng(SEED)
    XA, XB = rng.permutation(A), rng.permutation(B)  # the same emoji, but nothing says which is which
    print(f"{len(XA):,} pictures and {len(XB):,} names; by chance {10 / test:.3f} of {test:,} are found", flush=True)

    def to_name(aligner: MiniVec2VecAligner) -> float:
        return evaluate_alignment(aligner, pictures[:test], names[:test])["recall_at_10"]

    def to_picture(aligner: MiniVec2VecAligner) -> float:
        return evaluate_alignment(aligner.inverse(), names[:test], pictures[:test])["recall_at_10"]

    panels = sweep(XA, XB, A, B, {"picture to name": to_name, "name to picture": to_picture})
    panel_table(panels)
    curves(panels, f"recall at 10 of {test}", arguments.output / "multi_modal.png")


if __name__ == "__main__":
    main()
