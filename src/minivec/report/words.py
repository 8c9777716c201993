"""The report's sentences: what the numbers say, for those who read and for those who listen."""

import json
from typing import Any

from minivec.history import headline
from minivec.report.facts import Facts


def reasons(facts: Facts) -> list[str]:
    """Why the verdict is what it is."""
    history = facts.history
    causes = [cause.replace("XA", "A").replace("XB", "B") for cause in history["causes"]]
    given = [f"{cause[0].upper()}{cause[1:]}." for cause in causes]
    if history["settings"]["preset"] == "auto":
        agree = {"reliable": "agree", "doubtful": "agree only in part", "failed": "do not agree"}[history["verdict"]]
        given.insert(
            0,
            f"Two fits, each from half of the evidence, {agree} about where rows go: that is the confidence of "
            f"{history['confidence']:.2f}. Right maps agree, wrong ones do not. No labels were used.",
        )
    if facts.metrics and facts.rank is not None:
        top1, n = facts.metrics["top1_accuracy"], len(facts.rank)
        given.append(
            f"Of {n:,} true pairs, {top1:.1%} find their partner first, {facts.metrics['csls_top1_accuracy']:.1%} by "
            f"CSLS; by chance it would be {1 / n:.2%}."
        )
        if top1 < 0.5 and history["verdict"] == "reliable":
            given.append("The true pairs speak against the verdict: believe the pairs.")
        if not any(facts.same_data):
            given.append("These pairs are not the rows that the map was fitted on.")
    return given


def figures(facts: Facts) -> list[tuple[str, str, str]]:
    """The numbers at the top: value, name, what it means."""
    tiles = [(f"{facts.history['confidence']:.2f}", "confidence", "from 0 to 1, without labels; reliable from 0.8")]
    if facts.metrics:
        tiles += [
            (f"{facts.metrics['top1_accuracy']:.1%}", "top-1", "true partners that are the nearest row"),
            (f"{facts.metrics['csls_top1_accuracy']:.1%}", "top-1 by CSLS", "the same, corrected for hubs"),
            (f"{facts.metrics['mean_cosine_similarity']:.2f}", "mean cosine", "of a mapped row with its partner"),
        ]
    else:
        tiles += [
            (f"{facts.history['expected_cosine']:.2f}", "expected cosine", "of a mapped row with its partner"),
            (f"{facts.mutual:.0%}", "mutual", "rows that are also the nearest to their nearest"),
        ]
    total = sum(facts.history["seconds"].values())
    return [*tiles, (f"{total:.0f} s" if total >= 10 else f"{total:.1f} s", "fit", "wall time of align")]


def captions(facts: Facts) -> dict[str, str]:
    """What each chart shows, so that it need not be seen."""
    nearest, chance = facts.cosine[:, 0].mean(), facts.random_cosine.mean()
    stages = ", ".join(f"{stage.name} {stage.seconds:.1f} s" for stage in facts.stages)
    weakest = facts.weakest[0]
    first, last = facts.directions[0], facts.directions[-1]
    same = facts.shape[0] == facts.shape[1]
    runs = [run for stage in facts.stages for run in stage.runs]
    within = {k: (facts.back <= k).mean() for k in (1, 10)}
    captions = {
        "before": "Before: the raw vectors in "
        + ("the two leading directions of both spaces together." if same else "the two leading directions of each.")
        + ("" if same else " The widths differ, so nothing relates the two sides."),
        "after": f"After: A mapped into B, seen in {facts.view}.",
        "cosines": f"A row's nearest row of B has a cosine of {nearest:.2f} on average, some row of B {chance:.2f}.",
        "ranks": f"Looking back from its match, a row is the nearest of all in {within[1]:.0%} and among the first ten "
        f"in {within[10]:.0%}.",
        "hubs": f"Hubness is {facts.hubness:.1f}: the skewness of how often rows of B are among the ten nearest of a "
        f"row of A, 0 without hubs. The most wanted row is {int(facts.occurrences.max()):,} times, "
        f"{facts.orphans:.1%} are never.",
        "directions": f"Agreement falls from {first.correlation:.2f} in A's first direction to {last.correlation:.2f} "
        f"in number {last.number}. Of those that carry half of the variance, number {weakest.number} agrees least.",
        "seconds": f"Time of each stage: {stages}.",
        "objective": f"{len(runs)} runs of {sum(map(len, runs))} iterations in all. Runs differ in directions and "
        "sharpness, so only the course of each tells: it should rise, then flatten.",
    }
    if facts.metrics and facts.partner_cosine is not None:
        captions["cosines"] += f" True partners have {facts.partner_cosine.mean():.2f}."
        captions["ranks"] = (
            f"The true partner is first for {facts.metrics['top1_accuracy']:.1%}, among the first ten for "
            f"{facts.metrics['recall_at_10']:.1%}; its mean rank is {facts.metrics['mean_rank']:.2f}. "
        ) + captions["ranks"]
    return captions


def example(facts: Facts) -> str:
    """The Python that fits the map again."""
    settings = facts.history["settings"]
    given = ", ".join(f"{name}={json.dumps(value)}" for name, value in settings.items() if value is not None)
    known = ", pairs=pairs" if facts.history["pairs"] else ""
    width = facts.history["data"]["XA"]["shape"][1]
    return (
        "from minivec import MiniVec2VecAligner\n\n"
        f"aligner = MiniVec2VecAligner(embedding_dim={width})\n"
        f"history = aligner.align(XA, XB, {given}{known})"
    )


def settings(facts: Facts) -> dict[str, dict[str, str]]:
    """What it takes to reproduce the fit, in groups."""
    history = facts.history
    shown = {name: "the preset's choice" if v is None else str(v) for name, v in history["settings"].items()}
    data: dict[str, str] = {}
    for (name, given), same in zip(history["data"].items(), facts.same_data, strict=True):
        rows, width = given["shape"]
        data[name] = f"{rows:,} rows of {width} dimensions"
        data[f"{name} fingerprint"] = given["blake2b"]
        data[f"{name} shown here"] = "the rows fitted on" if same else "other rows"
    data["known pairs"] = f"{history['pairs']:,}"
    return {"Settings": shown, "Data": data, "Versions": {name: str(v) for name, v in history["versions"].items()}}


def title(facts: Facts) -> str:
    """The page's title."""
    return f"{headline(facts.history)} {facts.shape[0]} to {facts.shape[1]} dimensions"


def stage_rows(facts: Facts) -> list[dict[str, Any]]:
    """A line for every stage: time, iterations, how the objective went in its last run, and what else it told."""
    meanings = {
        "frame": "centre by the mean, scale to the unit sphere",
        "anchors": "find what both spaces have in common",
        "matching": "match the anchors of A with those of B",
        "agreement": "compare two fits from disjoint halves",
        "refine1": "transport between samples and Procrustes in turn, coarse to fine",
        "refine2": "clusters of A settle among the rows of B",
        "confidence": "judge the result without labels",
    }
    return [
        {
            "name": stage.name,
            "meaning": meanings.get(stage.name, ""),
            "seconds": f"{stage.seconds:.1f}",
            "steps": stage.steps or "",
            "told": ", ".join(
                [f"objective {run[0]:.3f} → {run[-1]:.3f}" for run in stage.runs[-1:]]
                + [f"{name} {value:.3g}" for name, value in stage.told.items()]
            ),
        }
        for stage in facts.stages
    ]
