"""A served map under load: ``python -m benchmarks.load_test``, ten minutes; ``--seconds 60`` for one.

An upstream that answers within 20 ms, ``minivec serve`` and the clients are a process each, on this machine. Requests
of 8 texts come at even distances, ``--rate`` vectors of 768 dimensions a second, whether earlier ones are answered or
not. In the first half the upstream and the clients behave. In the second half every tenth request gets an upstream that
is slow (1 s), every tenth one that fails at first (503), and the client of every tenth goes away.

"Ours" is what the client waited less what the upstream says it took, so the clients' own work and the loopback count as
ours. It is told of requests with an upstream that behaves.
"""

import argparse
import asyncio
import base64
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from minivec.algorithm.procrustes import polar
from minivec.frame import unit
from minivec.map import LinearMap
from minivec.signature import Signature, Signatures

WIDTH = 768
TEXTS = 8  # of a request
TOOK = "upstream-seconds"
KINDS = ("slow", "failing", "gone")


def rows(seed: int, count: int = 4_096) -> np.ndarray:
    """Unit vectors (count, 768) that spread over few directions, as an encoder's do."""
    spread = 1 / np.sqrt(1 + np.arange(WIDTH) / 20)
    X = np.random.default_rng(seed).standard_normal((count, WIDTH)) * spread
    return unit(X @ polar(np.random.default_rng(seed + 1).standard_normal((WIDTH, WIDTH)))).astype(np.float32)


def bridge() -> LinearMap:
    """A rotation of 768 dimensions that knows what its spaces look like."""
    W, X = polar(np.random.default_rng(2).standard_normal((WIDTH, WIDTH))), rows(0)
    means = dict(source_mean=X.mean(0), target_mean=X.mean(0) @ W, source_norm=1, target_norm=1, unit=1)
    signatures = Signatures(Signature.of(X), Signature.of(X @ W.astype(np.float32)))
    history = {"verdict": "reliable", "confidence": 1.0}
    return LinearMap({**means, "W": W, "inverse_W": W.T, "expected_cosine": 0.8}, history, signatures=signatures)


def upstream() -> None:
    """Serve an ASGI application with /v1/embeddings that behaves as the ``user`` of a request says."""
    import uvicorn

    X, failed = rows(0), set()
    encoded = {
        "base64": [base64.b64encode(x.tobytes()).decode() for x in X],
        "float": X.tolist(),
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        start, body, more = time.perf_counter(), b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        asked = json.loads(body)
        kind, _, number = asked["user"].partition(" ")
        await asyncio.sleep(1.0 if kind == "slow" else 0.02)
        fails = kind == "failing" and number not in failed
        failed.add(number)
        first = int(number) * TEXTS % (len(X) - TEXTS)
        vectors = encoded[asked["encoding_format"]][first : first + len(asked["input"])]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        answer = json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 1}}).encode()
        headers = [(TOOK.encode(), str(time.perf_counter() - start).encode()), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 503 if fails else 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
    listening = config.bind_socket()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
    uvicorn.Server(config).run([listening])


class Load:
    """Requests at a rate, and what became of them."""

    def __init__(self, address: str, encoding: str):
        self.client = httpx.AsyncClient(base_url=address, timeout=30, limits=httpx.Limits(max_connections=500))
        self.encoding, self.number = encoding, 0

    async def run(self, seconds: float, rate: float, kinds: tuple[str, ...]) -> dict[str, Any]:
        """``rate`` vectors a second; of ten requests one each is of the ``kinds``."""
        self.ours: list[float] = []
        self.statuses: Counter[str] = Counter()
        start, first = time.perf_counter(), self.number
        async with asyncio.TaskGroup() as tasks:
            while (now := time.perf_counter() - start) < seconds:
                due = first + int(now * rate / TEXTS)
                while self.number < due:
                    self.number += 1
                    tasks.create_task(self.ask(dict(enumerate(kinds)).get(self.number % 10, "plain")))
                await asyncio.sleep(0.002)
        answered = sum(count for status, count in self.statuses.items() if status.endswith("200"))
        return {
            "vectors/s": answered * TEXTS / (time.perf_counter() - start),
            "p50": 1000 * float(np.quantile(self.ours or [np.nan], 0.5)),
            "p99": 1000 * float(np.quantile(self.ours or [np.nan], 0.99)),
            "statuses": dict(self.statuses),
        }

    async def ask(self, kind: str) -> None:
        """One request."""
        body = {"input": ["text"] * TEXTS, "encoding_format": self.encoding, "user": f"{kind} {self.number}"}
        start = time.perf_counter()
        try:
            answer = await self.client.post("/v1/embeddings", json=body, timeout=0.01 if kind == "gone" else 30)
        except httpx.TimeoutException:
            self.statuses[f"{kind} left"] += 1
            return
        if kind == "plain" and answer.status_code == 200:
            self.ours.append(time.perf_counter() - start - float(answer.headers[TOOK]))
        self.statuses[f"{kind} {answer.status_code}"] += 1

    async def metric(self, line: str) -> float:
        """A value of /metrics."""
        text = (await self.client.get("/metrics")).text
        return float(re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)[1])

    async def memory(self) -> float:
        """The server's resident memory, in MB."""
        return await self.metric("process_resident_memory_bytes") / 1e6


async def measure(address: str, seconds: float, rate: float, encoding: str) -> None:
    """Print what both halves gave, and the memory before and behind them."""
    load = Load(address, encoding)
    async with load.client:
        await load.run(min(5.0, seconds / 10), rate, KINDS)  # what is made on first use
        before = await load.memory()
        print("| upstream and clients | vectors/s | ours, p50, ms | ours, p99, ms | memory, MB | answers |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, kinds in (("behave", ()), ("misbehave", KINDS)):
            told = await load.run(seconds / 2, rate, kinds)
            memory = f"{before:.0f} to {(before := await load.memory()):.0f}"
            figures = f"{told['vectors/s']:,.0f} | {told['p50']:.1f} | {told['p99']:.1f} | {memory}"
            answers = ", ".join(f"{count:,} {what}" for what, count in sorted(told["statuses"].items()))
            print(f"| {name} | {figures} | {answers} |", flush=True)
        await asyncio.sleep(2)
        print(f"\nin flight at the end: {await load.metric('minivec_in_flight'):.0f}")


def started(*command: str) -> "tuple[subprocess.Popen[str], str]":
    """A process, and the address that it prints first."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().partition("/v1")[0]


def main() -> None:
    """Parse the arguments, start both servers, measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_test", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=1_000, help="vectors a second")
    parser.add_argument("--encoding", choices=("base64", "float"), default="base64", help="of the vectors in answers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "bridge.safetensors"))
        bridge().save(file)
        model, url = started("-m", "benchmarks.load_test", "upstream")
        command = "from minivec.cli import main; main()"
        serve = ("serve", "-a", file, "--upstream", f"{url}/v1", "--port", "0", "--at-once", "64", "--queue", "256")
        served, address = started("-c", command, *serve)
        try:
            asyncio.run(measure(address, given.seconds, given.rate, given.encoding))
        finally:
            served.terminate()
            model.terminate()
            print(f"exit codes: {served.wait()} (serve), {model.wait()} (upstream)")


if __name__ == "__main__":
    if sys.argv[1:] == ["upstream"]:
        upstream()
    else:
        main()
