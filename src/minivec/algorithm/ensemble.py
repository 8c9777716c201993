"""Independent runs of one task, each with a generator of its own."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minivec.record import Record


def ensemble(
    run: Callable[..., Any], runs: int, record: Record, rng: np.random.Generator, *items: Iterable[Any]
) -> list[Any]:
    """The results of ``run(record, generator, *item)`` for ``runs`` generators and as many ``items``, zipped.

    The runs are the steps of stage "anchors". A callback that stops the fit ends them sooner.
    """
    results = []
    with record.stage("anchors", runs):
        for result in record.each(run, rng.spawn(runs), *items, threads=True):
            results.append(result)
            if record.step():
                break
    return results
