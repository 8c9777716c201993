"""A migration in a process of its own, which prints its time and memory: ``python moved.py FROM TO MAP BATCH``."""

import json
import re
import sys
from pathlib import Path

from minivec.map import open_map
from minivec.migrate import migrate
from minivec.stores import open_store


def memory(field):
    """A field of this process's status in MiB: VmHWM is the most that it has held. NaN where the system tells none."""
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+)", status.read_text() if status.exists() else "")
    return int(found[1]) / 1024 if found else float("nan")


def main(source, destination, bridge, batch):
    with open_store(source) as store:  # import, connect, and read a little
        next(store.blocks(16))
    held = memory("VmHWM")
    result = migrate(source, destination, open_map(bridge), batch=int(batch))
    peak = memory("VmHWM")
    print(json.dumps({"rows": result.rows, "seconds": result.seconds, "beyond": peak - held, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
