"""A folder in Hugging Face's layout: config.json, model.safetensors and a model card about the fit."""

import json
import re
from pathlib import Path
from typing import Any

from minivec.files import replacing
from minivec.history import MEANINGLESS, top1_in_words
from minivec.map import LinearMap
from minivec.persistence import TENSORS

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")  # "owner/name" on Hugging Face's hub
CARD = """\
---
library_name: minivec
tags:
- embeddings
- alignment
- mini-vec2vec
{metadata}---

# {source} to {target}

A linear map from the embedding space of {source} ({dA} dimensions) into that of {target} ({dB} dimensions), found by
[minivec](https://arxiv.org/abs/2510.02348) {how}.

{facts}

## Use

```python
from minivec import MiniVec2VecAligner

aligner = MiniVec2VecAligner.from_pretrained("this/folder")
mapped = aligner(rows)  # raw vectors (n, {dA}) of {source} in, unit vectors (n, {dB}) comparable with {target}'s out
```

Without Keras: `minivec.open_map("this/folder")(rows)`. Vectors must be made as those of the fit were: same model,
same prompt or prefix, same pooling.
"""


def save(
    aligner: Any,
    folder: str | Path,
    source: str = "space A",
    target: str = "space B",
    metrics: dict[str, float] | None = None,
    license: str | None = None,
) -> None:
    """Write a ``LinearMap`` or an aligned model to ``folder``, for ``minivec.open_map`` and ``minivec.load``.

    ``source`` and ``target`` name the encoders in the card; those of the form "owner/name" are its ``base_model``.
    ``metrics`` are figures for it, as ``evaluate_alignment`` returns them, also among its results (``model-index``).
    ``license`` is the licence of the map, as the hub names it ("mit"). Raises NotAlignedError for a model without a
    map. Push the folder with Hugging Face's own tools.
    """
    bridge = LinearMap.of(aligner)
    history, (dA, dB) = bridge.history, bridge.shape
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    bridge.save(folder / TENSORS)
    config = {"model_type": "minivec", "embedding_dim": dA, "target_dim": dB}
    known = history.get("pairs", 0)
    card = CARD.format(
        source=source,
        target=target,
        dA=dA,
        dB=dB,
        how=f"from {known:,} known pairs" if known else "without a single known pair",
        facts=_table(_facts(history, metrics or {})),
        metadata=_metadata(source, target, metrics or {}, license),
    )
    for name, text in (("config.json", json.dumps(config, indent=2) + "\n"), ("README.md", card)):
        with replacing(folder / name) as temporary:
            temporary.write_text(text)


def fetched(name: str | Path) -> str | Path:
    """The folder ``name`` or, where it is none and has the form "owner/name", that repository from Hugging Face's hub.

    Raises FileNotFoundError that says ``snapshot_download`` where huggingface_hub is not installed, and OSError as
    ``snapshot_download`` does where the hub has no such repository or cannot be reached.
    """
    if Path(name).exists() or not REPOSITORY.fullmatch(str(name)):
        return name
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise FileNotFoundError(
            f"{name}: no such folder. If it is a repository on Hugging Face's hub: pip install huggingface_hub, and "
            f"this downloads it, or give the folder that huggingface_hub.snapshot_download({str(name)!r}) returns"
        ) from error
    return snapshot_download(str(name))


def _metadata(source: str, target: str, metrics: dict[str, float], license: str | None) -> str:
    """The lines of the card's head that the hub reads: JSON is YAML too."""
    fields: dict[str, Any] = {"license": license} if license else {}
    if models := [model for model in (source, target) if REPOSITORY.fullmatch(model)]:
        fields["base_model"] = models
    if metrics:
        results = {
            "task": {"type": "sentence-similarity"},
            "dataset": {"name": "true pairs", "type": "true-pairs"},
            "metrics": [{"type": metric, "value": float(value)} for metric, value in metrics.items()],
        }
        fields["model-index"] = [{"name": f"{source} to {target}", "results": [results]}]
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def _facts(history: dict[str, Any], metrics: dict[str, float]) -> dict[str, Any]:
    """What the card says: verdict, figures, data, settings and versions, as far as they are known."""
    facts: dict[str, Any] = {
        name: history[name] for name in ("verdict", "confidence", "expected_cosine") if name in history
    }
    if history.get("verdict") == "failed":
        facts["expected_cosine"] = MEANINGLESS
    if expected := top1_in_words(history):
        facts["expected top-1"] = expected
    if history.get("causes"):
        facts["causes of doubt"] = "; ".join(history["causes"])
    facts |= metrics
    for name, data in history.get("data", {}).items():
        facts[f"{name}: shape, fingerprint"] = f"{data.get('shape')}, `{data.get('blake2b')}`"
    facts |= {name: value for name, value in history.get("settings", {}).items() if value is not None}
    return facts | {f"{name} version": value for name, value in history.get("versions", {}).items()}


def _table(facts: dict[str, Any]) -> str:
    rows = ["| fact | value |", "| --- | --- |"]
    for name, value in facts.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        rows.append(f"| {name.replace('_', ' ')} | {shown} |")
    return "\n".join(rows)
