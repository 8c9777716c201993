"""Translation between two aligned vocabularies, and how right it is by a dictionary."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minivec.frame import unit
from minivec.metrics import asking
from minivec.search import csls_top_k
from minivec.validation import as_array

CROWD = 10_000  # source words, from the first, against which CSLS measures how much of a hub a target word is
BLOCK = 4096


class Lexicon:
    """Words of two languages in one space: nearest by CSLS (Conneau et al., 2018) are translations.

    ``aligner`` maps raw vectors ``XA`` (nA, dA) of ``source`` words (nA) to rows comparable by cosine with raw vectors
    ``XB`` (nB, dB) of ``target`` words (nB). Of a word that occurs more than once the first vector counts.
    """

    def __init__(
        self,
        aligner: Callable[[np.ndarray], Any],
        source: Sequence[str],
        XA: np.ndarray,
        target: Sequence[str],
        XB: np.ndarray,
    ):
        for side, words, X in (("source", source, XA), ("target", target, XB)):
            if len(words) != len(X):
                raise ValueError(f"{side}: {len(words)} words for {len(X)} vectors")
        self.source, self.target = list(source), list(target)
        aligner = asking(aligner)
        blocks = [aligner(XA[i : i + BLOCK]) for i in range(0, len(XA), BLOCK)]
        self._mapped = unit(np.concatenate([as_array(block, "the aligner's output") for block in blocks]))
        self._base = unit(np.asarray(XB, np.float32))
        self._rows = {word: row for row, word in reversed(list(enumerate(self.source)))}

    def translate(self, words: Iterable[str], k: int = 1) -> list[list[tuple[str, float]]]:
        """The ``k`` best translations of each word, best first, with their CSLS; ValueError for unknown words."""
        words = list(words)
        unknown = [word for word in words if word not in self._rows]
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise ValueError(f"not among the {len(self.source):,} source words: {', '.join(unknown[:5])}{more}")
        similarity, near = self._nearest([self._rows[word] for word in words], k)
        return [
            [(self.target[row], float(csls)) for row, csls in zip(rows, scores, strict=True)]
            for rows, scores in zip(near, similarity, strict=True)
        ]

    def evaluate(self, dictionary: dict[str, set[str]]) -> dict[str, float]:
        """Precision at 1, 5 and 10 by a ``dictionary`` of true translations, as MUSE counts it.

        ``precision_at_k`` is the share of words one of whose translations is among the first k by CSLS, of the
        ``words`` that are known here with at least one translation; ``coverage`` is their share of the dictionary.
        Raises ValueError where there are none.
        """
        known = set(self.target)
        truth = {word: right for word in dictionary if word in self._rows and (right := dictionary[word] & known)}
        if not truth:
            raise ValueError("no word of the dictionary is known on both sides")
        found = self.translate(truth, min(10, len(self.target)))
        first = [
            next((rank for rank, (word, _) in enumerate(row) if word in right), len(self.target))
            for row, right in zip(found, truth.values(), strict=True)
        ]
        precision = {f"precision_at_{k}": float((np.array(first) < k).mean()) for k in (1, 5, 10)}
        return {**precision, "words": len(truth), "coverage": len(truth) / len(dictionary)}

    def _nearest(self, rows: Sequence[int], k: int) -> tuple[np.ndarray, np.ndarray]:
        return csls_top_k(self._mapped[rows], self._base, k, crowd=self._mapped[:CROWD])


def read_dictionary(path: str | Path) -> dict[str, set[str]]:
    """A dictionary in MUSE's format: a word and a translation a line, a word again for each further one.

    They are separated by a tab, or by any white space where a line has none; a third column is ignored. Raises OSError
    for no such file, and ValueError naming the first line that is not of this form.
    """
    dictionary: dict[str, set[str]] = {}
    with open(path, encoding="utf-8-sig") as file:  # the first word must not hold a byte-order mark
        try:
            for number, line in enumerate(file, 1):
                fields = line.rstrip("\n").split("\t" if "\t" in line else None)
                if not fields:
                    continue
                if len(fields) < 2 or not all(fields[:2]):
                    raise ValueError(f"{path}: line {number} is not a word and its translation: {line.strip()!r}")
                dictionary.setdefault(fields[0], set()).add(fields[1])
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text file: {error}") from error
    if not dictionary:
        raise ValueError(f"{path}: no words in it")
    return dictionary
