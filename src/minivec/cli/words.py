"""Words of one language in another."""

from pathlib import Path
from typing import Annotated

import typer

from minivec.cli.common import Aligner, Columns, From, Inverse, app, open_lexicon
from minivec.files import WORD_SUFFIXES, check_output, replacing

WORDS = f"a {', '.join(WORD_SUFFIXES)} file, or Parquet with a column of words"
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=f"Words and vectors of the one language: {WORDS}.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="Those of the other language.")]
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
    space: From = None,
    inverse: Inverse = False,
) -> None:
    """Translate each WORD: the words of TARGET nearest to it by CSLS."""
    lexicon = open_lexicon(source, target, aligner, column=column, inverse=inverse, space=space, vocabulary=vocabulary)
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
    space: From = None,
    inverse: Inverse = False,
) -> None:
    """Induce a bilingual lexicon: every word of SOURCE with its nearest in TARGET by CSLS."""
    check_output(output, (".tsv",), Path(source), Path(target))
    lexicon = open_lexicon(source, target, aligner, column=column, inverse=inverse, space=space, vocabulary=vocabulary)
    words = list(dict.fromkeys(lexicon.source))
    with replacing(output) as temporary, open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        for word, found in zip(words, lexicon.translate(words, number), strict=True):
            file.writelines(f"{word}\t{translation}\t{csls:.4f}\n" for translation, csls in found)
    print(f"{output}: {len(words):,} words")
