"""Rows a second through Ray with 1 and 2 workers, and the memory they hold: ``python -m benchmarks.ray_transform``.

Writes a Parquet shard of random float16 numbers into ``--folder``, links it as often as ``--rows`` asks, maps the
shards to as many dimensions, and prints a line of Markdown per number of workers. Memory is the largest sum, over Ray's
processes, of what is theirs (proportional set size), sampled every half second; ``--store`` megabytes bound the object
store.
"""

import argparse
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from minivec import distributed
from minivec.runtime import QueryAdapter


def shards(folder: Path, rows: int, dim: int, size: int, dictionary: bool) -> None:
    """Write ``size`` random rows, and as many links to that file as make up ``rows``."""
    folder.mkdir(parents=True)
    values = pa.array(np.random.default_rng(0).standard_normal(size * dim, np.float32).astype(np.float16))
    table = pa.table({"id": np.arange(size), "v": pa.FixedSizeListArray.from_arrays(values, dim)})
    first = folder / "part-00000.parquet"
    pq.write_table(table, first, row_group_size=50_000, compression="none", use_dictionary=dictionary)
    for number in range(1, rows // size):
        os.link(first, folder / f"part-{number:05}.parquet")


def adapter(dim: int) -> QueryAdapter:
    """A rotation between two spaces with means."""
    rng = np.random.default_rng(1)
    W = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    mean = rng.standard_normal(dim) / dim
    weights = {"source_mean": mean, "target_mean": mean, "target_norm": np.sqrt(dim), "W": W, "expected_cosine": 0.9}
    return QueryAdapter({name: np.float32(value) for name, value in weights.items()})


class Memory(threading.Thread):
    """The largest memory that Ray's processes have held since the start, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.done = 0, False

    def run(self) -> None:
        """Sample until ``done``."""
        while not self.done:
            held = 0
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if b"ray::" in (process / "cmdline").read_bytes():
                        lines = (process / "smaps_rollup").read_text().splitlines()
                        held += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
                except (OSError, ValueError):
                    continue
            self.peak = max(self.peak, held)
            time.sleep(0.5)


@ray.remote
def _start() -> None:
    """Wait until every worker has such a task."""
    time.sleep(1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--shard", type=int, default=500_000, help="rows a file")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--store", type=int, default=500, help="megabytes of Ray's object store")
    parser.add_argument("--dictionary", action="store_true", help="encode values as PyArrow does unless told otherwise")
    parser.add_argument("--folder", type=Path, default=Path("ray-benchmark"))
    args = parser.parse_args()
    os.environ["RAY_worker_niceness"] = "0"  # 15 by default, which measures what else the machine does
    source, output = args.folder / "source", args.folder / "output"
    if not source.exists():
        shards(source, args.rows, args.dim, args.shard, args.dictionary)
    stored = sum(file.stat().st_size for file in source.iterdir()) / 1e9
    print(f"{args.rows:,} x {args.dim} float16, {stored:.1f} GB in {len(list(source.iterdir()))} files\n")
    print("| workers | s | rows/s | peak memory of the workers, MB |\n| --- | --- | --- | --- |", flush=True)
    for workers in args.workers:
        options = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": args.store << 20}
        ray.init(num_cpus=max(args.workers), **options)
        ray.get([_start.remote() for _ in range(2 * workers)])  # processes start before the clock does
        memory = Memory()
        memory.start()
        start = time.perf_counter()
        rows = distributed.transform(source, adapter(args.dim), output, "v", workers)
        seconds = time.perf_counter() - start
        memory.done = True
        print(f"| {workers} | {seconds:.0f} | {rows / seconds:,.0f} | {memory.peak / 1e6:,.0f} |", flush=True)
        ray.shutdown()
        shutil.rmtree(output)


if __name__ == "__main__":
    main()
