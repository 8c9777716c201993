"""The report's sentences: what the numbers say."""

import json
import shlex
from typing import Any

from minivec import history as fit
from minivec.report.decision import RELIABLE
from minivec.report.facts import Facts

PAIRED = {
    "reliable": "This map works: {} of rows find their true partner first.",
    "doubtful": "This map is doubtful: only {} of rows find their true partner first.",
    "failed": "This map does not work: {} of rows find their true partner first.",
}
SIDES = {"source": "from", "target": "to"}  # the options of minivec align that name the spaces
HALVES = {"reliable": "agree", "doubtful": "agree only in part", "failed": "do not agree"}
FEW_PAIRS = 200  # among so few rows a partner is easy to find
NOT_SHOWN = (
    "The figures of a failed map mean nothing. Its rows have near neighbours and mutual matches too, often more than "
    "those of a good map."
)


def headline(facts: Facts) -> str:
    """The verdict as a sentence."""
    if facts.metrics is None:
        return fit.headline(facts.history)
    return PAIRED[facts.decision.verdict].format(f"{facts.metrics['top1_accuracy']:.1%}")


def reasons(facts: Facts) -> list[str]:
    """Why the verdict is what it is: the evidence that decided comes first."""
    return [*_of_pairs(facts), *_of_the_fit(facts)]


def _of_pairs(facts: Facts) -> list[str]:
    """What true pairs say, and how far they can be believed."""
    if facts.metrics is None:
        return []
    n, metrics, decision = len(facts.near), facts.metrics, facts.decision
    lines = [
        f"True pairs decide. Of {n:,} rows, {metrics['top1_accuracy']:.1%} find their partner first, and "
        f"{metrics['csls_top1_accuracy']:.1%} by CSLS. By chance it would be {1 / n:.2%}."
    ]
    if decision.verdict != decision.fit:
        lines.append(f"Without pairs, the fit called itself {decision.fit}. The true pairs overrule this.")
    if n < FEW_PAIRS:
        lines.append(f"A partner is easy to find among {n} rows. Measure on more pairs.")
    if not any(facts.same_data):
        lines.append("The map was not fitted on these rows.")
    elif facts.history["pairs"]:
        lines.append("The map was fitted on these rows and on known pairs, which makes the figures too high.")
    return lines


def _of_the_fit(facts: Facts) -> list[str]:
    """What the fit says of itself. Its causes of doubt are left out where true pairs show that the map works."""
    history, lines = facts.history, []
    confidence, held_out = f"{history['confidence']:.2f}", history.get("held_out")
    if held_out:
        lines.append(
            f"{held_out['pairs']:,} known pairs were held out from the fit. {held_out['top1_accuracy']:.1%} of them "
            f"found their partner first. This gives the confidence of {confidence}."
        )
    elif history["settings"]["preset"] == "auto":
        lines.append(
            f"Two fits, each from half of the evidence, {HALVES[history['verdict']]} on where rows go. This gives the "
            f"confidence of {confidence}. Right maps agree, wrong maps do not. No labels were used."
            if not history["pairs"]
            else f"The confidence of {confidence} is the agreement of two fits, each from half of the evidence, or the "
            "score on known pairs that were held out, whichever is greater."
        )
    if facts.decision.verdict != "reliable":
        causes = [cause.replace("XA", "A").replace("XB", "B") for cause in history["causes"]]
        lines += [f"{cause[0].upper()}{cause[1:]}." for cause in causes]
    return lines


def advice(facts: Facts) -> list[str]:
    """What to do next: in Python, and on the command line."""
    if facts.metrics is None:
        return fit.advice(facts.history)
    if facts.decision.verdict == "reliable":
        return ["Use this map. Before you do, look at the clusters and directions in which it is weak."]
    turned = facts.turned_top1
    if turned is not None and turned >= RELIABLE:
        return [
            "The direction is wrong: the inverse of this map finds the true partner first for "
            f"{turned:.1%} of these rows. Use aligner.inverse() in Python, or exchange --source and --target on the "
            "command line."
        ]
    return [
        "Check that row i of A and row i of B are the same item.",
        "Check the direction. If this map leads from B to A, use aligner.inverse() in Python, or exchange --source and "
        "--target on the command line.",
        "Check that the vectors are made as those of the fit were: same model, same prompt, same pooling.",
        *fit.remedies(facts.history),
    ]


def figures(facts: Facts) -> list[tuple[str, str, str]]:
    """The numbers at the top: value, name, what it means. A failed map has none but its confidence, without pairs."""
    history, metrics = facts.history, facts.metrics
    confidence = f"{history['confidence']:.2f}", "confidence"
    if metrics:
        tiles = [
            (f"{metrics['top1_accuracy']:.1%}", "top-1", "true partners that are the nearest row"),
            (f"{metrics['csls_top1_accuracy']:.1%}", "top-1 by CSLS", "the same, corrected for hubs"),
            (f"{metrics['mean_cosine_similarity']:.2f}", "mean cosine", "of a mapped row with its true partner"),
            (*confidence, "of the fit in itself, from 0 to 1; it did not see these pairs"),
        ]
    else:
        labels = "" if history["pairs"] else " without labels,"
        tiles = [(*confidence, f"of the fit in itself,{labels} from 0 to 1; reliable from 0.8")]
        if top1 := history.get("expected_top1"):
            tiles.append((f"{top1['value']:.0%}", "expected top-1", fit.top1_in_words(history)))
        if facts.telling:
            tiles += [
                (f"{history['expected_cosine']:.2f}", "expected cosine", "of a mapped row with its partner"),
                (f"{facts.mutual:.0%}", "mutual", "rows that are also the nearest to their nearest row"),
            ]
    total = sum(history["seconds"].values())
    return [*tiles, (f"{total:.0f} s" if total >= 10 else f"{total:.1f} s", "fit", "wall time of align")]


def metric_rows(metrics: dict[str, float]) -> list[tuple[str, str]]:
    """The retrieval of true partners: names and values."""
    shares = {
        "top1_accuracy": "top-1",
        "csls_top1_accuracy": "top-1 by CSLS",
        "recall_at_5": "in the first 5",
        "recall_at_10": "in the first 10",
    }
    return [
        *((name, f"{metrics[key]:.1%}") for key, name in shares.items()),
        ("mean rank", f"{metrics['mean_rank']:,.2f}"),
        ("mean reciprocal rank", f"{metrics['mean_reciprocal_rank']:.3f}"),
        ("mean cosine", f"{metrics['mean_cosine_similarity']:.3f}"),
    ]


def captions(facts: Facts) -> dict[str, str]:
    """What each chart shows, for readers who do not see it."""
    same = facts.shape[0] == facts.shape[1]
    runs = [run for stage in facts.stages for run in stage.runs]
    stages = ", ".join(f"{stage.name} {stage.seconds:.1f} s" for stage in facts.stages)
    shown = {
        "before": "Before: the raw vectors in the two leading directions of "
        + ("both spaces together." if same else "each space. The widths differ, so nothing relates the two sides."),
        "after": f"After: A mapped into B, seen in {facts.view}."
        + ("" if facts.telling else " The colours of a failed map mix too: this is no evidence."),
        "seconds": f"Time of each stage: {stages}.",
    }
    if runs:
        shown["objective"] = (
            f"{len(runs)} runs of {sum(map(len, runs)):,} iterations in all. Runs differ in directions and sharpness. "
            "Only the course of each tells something: it should rise, then flatten."
        )
    return shown | (_of_matches(facts) if facts.telling else {})


def _of_matches(facts: Facts) -> dict[str, str]:
    """The captions of those charts that show how rows match."""
    nearest, chance = facts.cosine[:, 0].mean(), facts.random_cosine.mean()
    first, last, weakest = facts.directions[0], facts.directions[-1], facts.weakest[0]
    cosines = f"The nearest row of B has a cosine of {nearest:.2f} on average, a random row of B {chance:.2f}."
    within = {k: (facts.back <= k).mean() for k in (1, 10)}
    ranks = (
        f"Seen from its match, a row of A is the nearest of all in {within[1]:.0%} and among the first ten in "
        f"{within[10]:.0%}."
    )
    if facts.metrics and facts.partner_cosine is not None:
        cosines += f" The true partner has {facts.partner_cosine.mean():.2f}."
        ranks = (
            f"The true partner is first for {facts.metrics['top1_accuracy']:.1%} and among the first ten for "
            f"{facts.metrics['recall_at_10']:.1%}. Its mean rank is {facts.metrics['mean_rank']:,.2f}."
        )
    return {
        "cosines": cosines,
        "ranks": ranks,
        "hubs": f"Hubness is {facts.hubness:.1f}. This is the skewness of how often rows of B are among the ten "
        f"nearest of a row of A; 0 means no hubs. The most frequent row is {int(facts.occurrences.max()):,} times "
        f"among them, {facts.orphans:.1%} of rows never.",
        "directions": f"Agreement falls from {first.correlation:.2f} in A's first direction to {last.correlation:.2f} "
        f"in number {last.number}. Of the directions that carry half of the variance, number {weakest.number} agrees "
        "least."
        + (
            "" if facts.paired else " This is measured on matches and not on true pairs, so it looks better than it is."
        ),
    }


def example(facts: Facts) -> list[str]:
    """What fits the map again: the Python and, where the command line can do it too, the command."""
    history = facts.history
    settings = {name: value for name, value in history["settings"].items() if value is not None}
    spaces = {side: name for side, name in (history.get("spaces") or {}).items() if name}
    names = {f"{side}_name": name for side, name in spaces.items()}
    width = history["data"]["XA"]["shape"][1]
    if settings["preset"] == "pairs":
        chosen = {name: settings[name] for name in ("mapping", "seed")} | names
        given = ", ".join(f"{name}={json.dumps(value)}" for name, value in chosen.items())
        return [f"from minivec import MiniVec2VecAligner\n\naligner = MiniVec2VecAligner.from_pairs(XA, XB, {given})"]
    given = ", ".join(f"{name}={json.dumps(value)}" for name, value in (settings | names).items())
    options = [f"--{name.replace('_', '-')} {value}" for name, value in settings.items()]
    options += [f"--{option} {shlex.quote(spaces[side])}" for side, option in SIDES.items() if side in spaces]
    options += ["--pairs pairs.csv"] if history["pairs"] else []
    return [
        "from minivec import MiniVec2VecAligner\n\n"
        f"aligner = MiniVec2VecAligner(embedding_dim={width})\n"
        f"history = aligner.align(XA, XB, {given}{', pairs=pairs' if history['pairs'] else ''})",
        " \\\n  ".join(["minivec align A.npy B.npy -o aligner.keras", *options]),
    ]


def settings(facts: Facts) -> dict[str, dict[str, str]]:
    """What it takes to reproduce the fit, in groups."""
    history = facts.history
    shown = {name: "the preset's choice" if v is None else str(v) for name, v in history["settings"].items()}
    data = {f"{side} space": name for side, name in (history.get("spaces") or {}).items() if name}
    for (name, given), same in zip(history["data"].items(), facts.same_data, strict=True):
        rows, width = given["shape"]
        data[name] = f"{rows:,} rows of {width} dimensions"
        data[f"{name} fingerprint"] = given["blake2b"]
        data[f"{name} shown here"] = "the rows of the fit" if same else "other rows"
    data["known pairs"] = f"{history['pairs']:,}"
    return {"Settings": shown, "Data": data, "Versions": {name: str(v) for name, v in history["versions"].items()}}


def title(facts: Facts) -> str:
    """The page's title."""
    return f"{headline(facts)} {facts.shape[0]} to {facts.shape[1]} dimensions"


def summary(facts: Facts) -> str:
    """The head of the report as a few lines of text."""
    tiles = figures(facts)
    width = max(len(name) for _, name, _ in tiles)
    lines = [headline(facts), f"  decided by {facts.decision.evidence}"]
    lines += [f"  {name:<{width}}  {value}  ({meaning})" for value, name, meaning in tiles]
    return "\n".join([*lines, *(f"  - {line}" for line in [*reasons(facts), *advice(facts)])])


def stage_rows(facts: Facts) -> list[dict[str, Any]]:
    """A line for every stage: time, iterations, the objective of its last run, and its other diagnostics."""
    meanings = {
        "frame": "centre by the mean, scale to the unit sphere",
        "anchors": "find what both spaces have in common",
        "matching": "match the anchors of A with those of B",
        "agreement": "compare two fits from disjoint halves",
        "refine1": "transport between samples and Procrustes in turn, coarse to fine",
        "refine2": "move clusters of A to the rows of B",
        "confidence": "judge the result without labels",
    }
    return [
        {
            "name": stage.name,
            "meaning": meanings.get(stage.name, ""),
            "seconds": f"{stage.seconds:.1f}",
            "steps": f"{stage.steps:,}" if stage.steps else "",
            "told": ", ".join(
                [f"objective {run[0]:.3f} → {run[-1]:.3f}" for run in stage.runs[-1:]]
                + [f"{name} {value:.3g}" for name, value in stage.told.items()]
            ),
        }
        for stage in facts.stages
    ]
