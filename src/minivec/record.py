"""The record of one run: its stages and their times, each iteration's diagnostics, and the callbacks."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Any

from minivec.threads import in_threads


@dataclass(frozen=True)
class Step:
    """The argument of a callback: iteration ``step`` of ``steps`` (None: not known), counted from 1."""

    stage: str
    step: int
    steps: int | None
    diagnostics: dict[str, Any] = field(default_factory=dict)


Callback = Callable[[Step], Any]


class Record:
    """One run's only state.

    ``seconds`` maps each stage to its time, ``steps`` lists every iteration as a dict of stage, step and its
    diagnostics, and ``stopped`` is True once a callback has returned True: the run ends with the map it has.
    """

    def __init__(self, callbacks: Iterable[Callback] = (), verbose: int = 0):
        self.callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [None]
        if not all(map(callable, self.callbacks)):
            raise TypeError(f"callbacks must be a list of callables that take a Step; got {callbacks!r}")
        if verbose not in (0, 1):
            raise ValueError(f"verbose must be 0 (silent) or 1 (progress of each stage); got {verbose!r}")
        self.verbose = verbose
        self.seconds: dict[str, float] = {}
        self.steps: list[dict[str, Any]] = []
        self.stopped = False

    @contextmanager
    def stage(self, name: str, steps: int | None = None) -> Iterator[None]:
        """Time a stage of ``steps`` iterations (None: not known); a stage entered again adds to its time."""
        self._name, self._count, self._of = name, 0, steps
        start = time.perf_counter()
        with _progress(name, steps) if self.verbose else nullcontext(_silent) as self._show:
            try:
                yield
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def say(self, sentence: str) -> None:
        """Print a sentence among the progress of the stages, if that is shown."""
        if self.verbose:
            from rich import print as show

            show(sentence)

    def step(self, **diagnostics: Any) -> bool:
        """Note an iteration of the current stage and call the callbacks; True when the run is to stop."""
        self._count += 1
        self.steps.append({"stage": self._name, "step": self._count, **diagnostics})
        self._show(diagnostics)
        step = Step(self._name, self._count, self._of, diagnostics)
        for callback in self.callbacks:
            self.stopped |= callback(step) is True
        return self.stopped

    def each(self, task: Callable[..., Any], *items: Iterable[Any], threads: bool = False) -> Iterator[Any]:
        """``task(record, *item)`` of every item, in order; the tasks must be independent of each other.

        ``items`` are zipped. With ``threads`` several tasks run at once, and these must not note steps on the record.
        ``distributed.TaskRecord`` overrides this to use more processes.
        """
        return (in_threads if threads else map)(partial(task, self), *items)


def _silent(diagnostics: dict[str, Any]) -> None:
    """Show nothing."""


@contextmanager
def _progress(name: str, steps: int | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A line on the terminal for one stage: a bar, the time it has taken and the last step's diagnostics."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<22}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TextColumn("{task.fields[note]}")) as progress:
        task = progress.add_task(name, total=steps, note="")

        def show(diagnostics: dict[str, Any]) -> None:
            note = "  ".join(f"{k} {v:.4g}" for k, v in diagnostics.items() if isinstance(v, Real))
            progress.update(task, advance=1, note=note)

        yield show
        done = max(1, progress.tasks[0].completed)
        progress.update(task, total=done, completed=done)
