"""The first five minutes: two real encoders from the bundled sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivec.cli.common import Seed, align_quietly, app, save, verdict
from minivec.files import check_output, replacing

if TYPE_CHECKING:
    import numpy as np

    from minivec.map import LinearMap

COLORS = {"reliable": "green", "doubtful": "yellow", "failed": "red"}


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for demo.keras and demo.png.")] = Path("."),
    seed: Seed = 0,
) -> None:
    """Align two real encoders from the bundled sample and show how well it went."""
    output.mkdir(parents=True, exist_ok=True)
    for name in ("demo.keras", "demo.png"):
        check_output(output / name, (Path(name).suffix,))
    from rich.console import Console

    from minivec.aligner import MiniVec2VecAligner
    from minivec.datasets import load_sample
    from minivec.history import top1_in_words
    from minivec.metrics import evaluate_alignment
    from minivec.picture import before_after

    console = Console(highlight=False)
    source, target, test_source, test_target, texts = load_sample()
    console.print("[bold]Two embedding spaces, and not one known pair.[/bold]")
    console.print(f"  A: {len(source):,} texts in {source.shape[1]} dimensions")
    console.print(f"  B: {len(target):,} [bold]other[/bold] texts, another encoder, in {target.shape[1]}\n")

    aligner = MiniVec2VecAligner(source.shape[1])
    history = align_quietly(aligner, source, target, seed=seed, verbose=1)
    save(aligner, output / "demo.keras")
    with replacing(output / "demo.png") as temporary:
        before_after(aligner, test_source, test_target, temporary, texts)
    seconds, color = sum(history["seconds"].values()), COLORS[history["verdict"]]
    console.print(f"\nAligned in {seconds:.1f} s: [{color}]{verdict(history)}[/{color}]")
    console.print(f"Expected: {top1_in_words(history)}\n")

    metrics, n = evaluate_alignment(aligner, test_source, test_target), len(texts)
    console.print(f"[bold]{n:,} held-out texts, embedded by both:[/bold] each looked up in B by its vector from A")
    console.print(f"  found first (top-1)   {metrics['top1_accuracy']:.1%} (by chance {1 / n:.2%})")
    console.print(f"  found first by CSLS   {metrics['csls_top1_accuracy']:.1%}")
    console.print(f"  mean rank             {metrics['mean_rank']:.2f} of {n:,}")
    console.print(f"  mean cosine           {metrics['mean_cosine_similarity']:.3f}\n")
    console.print(_matches(aligner.map, test_source, test_target, texts, ascii_only=console.options.ascii_only))

    console.print(f"\nSaved {output / 'demo.keras'} and, before and after, {output / 'demo.png'}.")
    console.print(
        "[bold]Next, your own embeddings:[/bold]\n"
        "  minivec align old.npy new.npy --from OLD --to NEW -o old_to_new.keras\n"
        "  minivec transform old.npy -a old_to_new.keras -o moved.npy"
    )


def _matches(
    bridge: "LinearMap", A: "np.ndarray", B: "np.ndarray", texts: list[str], *, ascii_only: bool = False
) -> Any:
    """A table of some held-out texts beside the text that the map finds for them, cut to the terminal's width."""
    import numpy as np
    from rich.markup import escape
    from rich.table import Table

    from minivec.frame import unit
    from minivec.search import top_k

    shown = np.linspace(0, len(texts) - 1, 6).astype(int)
    cosines, found = top_k(bridge.for_queries()(A[shown]), unit(B), 1)
    table = Table(box=None, expand=True, pad_edge=False)
    for heading in ("text, embedded in A", "nearest to it in B"):
        table.add_column(heading, no_wrap=True, ratio=1, overflow="crop" if ascii_only else "ellipsis")
    table.add_column("cosine", justify="right")
    for row, match, cosine in zip(shown, found[:, 0], cosines[:, 0], strict=True):
        color = "green" if row == match else "red"
        table.add_row(escape(texts[row]), f"[{color}]{escape(texts[match])}[/{color}]", f"{cosine:.2f}")
    return table
