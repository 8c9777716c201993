"""Words of one language in another."""

from pathlib import Path
from typing import Annotated

import typer

from minivec.cli.common import Aligner, Columns, app, open_lexicon
from minivec.files import check_output, replacing

WORDS = "a .vec or .bin file, or Parquet with a column of words"
Source = Annotated[Path, typer.Argument(metavar="SOURCE", help=f"Words and vectors of language A: {WORDS}.")]
Target = Annotated[Path, typer.Argument(metavar="TARGET", help="Those of language B.")]
Inverse = Annotated[bool, typer.Option("--inverse", help="SOURCE is in space B, TARGET in space A.")]
Vocabulary = Annotated[
    int, typer.Option(min=1, help="Words read of each file, from the first; the frequent ones come first in most.")
]
Count = Annotated[int, typer.Option("--number", "-n", min=1, help="Translations of each word.")]


@app.command()
def translate(
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="Words that SOURCE has.")],
    source: Source,
    target: Target,
    *,
    aligner: Aligner,
    column: Columns = None,
    number: Count = 5,
    vocabulary: Vocabulary = 50_000,
    inverse: Inverse = False,
) -> None:
    """Translate each WORD: the words of TARGET nearest to it by CSLS."""
    lexicon = open_lexicon(source, target, aligner, column, inverse, vocabulary)
    for word, found in zip(words, lexicon.translate(words, number), strict=True):
        print(f"{word}:", ", ".join(f"{translation} {csls:.2f}" for translation, csls in found))


@app.command()
def dictionary(
    source: Source,
    target: Target,
    *,
    aligner: Aligner,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tsv file to write: word, translation, CSLS.")],
    column: Columns = None,
    number: Count = 1,
    vocabulary: Vocabulary = 50_000,
    inverse: Inverse = False,
) -> None:
    """Induce a bilingual lexicon: every word of SOURCE with its nearest in TARGET by CSLS."""
    check_output(output, (".tsv",), source, target)
    lexicon = open_lexicon(source, target, aligner, column, inverse, vocabulary)
    words = list(dict.fromkeys(lexicon.source))
    with replacing(output) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for word, found in zip(words, lexicon.translate(words, number), strict=True):
            file.writelines(f"{word}\t{translation}\t{csls:.4f}\n" for translation, csls in found)
    print(f"{output}: {len(words):,} words")
