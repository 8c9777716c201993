"""The map as an ONNX graph, for onnxruntime and whatever else runs those."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from minivec.extras import missing
from minivec.files import replacing
from minivec.frame import TINY
from minivec.map import LinearMap

OPSET, IR = 17, 8  # understood by onnxruntime 1.13 and newer


def save(adapter: LinearMap, path: str | Path) -> None:
    """Write ``adapter`` as a graph from raw rows ``x`` (n, dA) to unit rows ``y`` (n, dB), float32, any n.

    The history is in the model's metadata under "minivec". Raises ImportError without the onnx package.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError as error:
        raise missing("ONNX files need the onnx package", "onnx") from error

    dA, dB = adapter.shape
    share, mean = np.float32(adapter.share), adapter.weights["target_mean"]
    constants = {
        "source_mean": adapter.weights["source_mean"],
        "W": adapter.weights["W"],
        "target_mean": mean[:, None],
        "beyond": np.float32(adapter.beyond),
        "part": share * mean,
        "trust": np.float32(adapter.trust),
        "usual": np.float32(adapter.usual),
        "near": np.float32(adapter.near),
        "zero": np.float32(0),
        "tiny": np.float32(TINY),
        "one": np.float32(1),
        "large": np.float32(1e15),
    }
    nodes = [
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("ReduceMax", ["size"], ["largest"], axes=[-1]),
        *(_of_unit_rows(helper) if adapter.scaled else _of_raw_rows(helper)),
        helper.make_node("Sub", ["rows", "shrunk_mean"], ["centred"]),
        helper.make_node("MatMul", ["centred", "W"], ["z"]),
        helper.make_node("ReduceL2", ["z"], ["length"], axes=[-1]),
        helper.make_node("Greater", ["length", "shrunk_near"], ["apart"]),
        helper.make_node("Where", ["apart", "z", "zero"], ["directed"]),
        helper.make_node("Max", ["length", "tiny"], ["divisor"]),
        helper.make_node("Div", ["directed", "divisor"], ["v"]),
        *_to_target(helper),
    ]
    graph = helper.make_graph(
        nodes,
        "minivec",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", dA])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", dB])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="minivec"
    )
    helper.set_model_props(model, {"minivec": json.dumps(adapter.history)})
    checker.check_model(model)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _of_unit_rows(helper: Any) -> list[Any]:
    """Raw rows to rows of length 1, with the mean and the threshold to be compared with them."""
    return [
        helper.make_node("Max", ["largest", "tiny"], ["scale"]),
        helper.make_node("Div", ["x", "scale"], ["tamed"]),
        helper.make_node("ReduceL2", ["tamed"], ["tamed_length"], axes=[-1]),
        helper.make_node("Max", ["tamed_length", "one"], ["tamed_divisor"]),
        helper.make_node("Div", ["tamed", "tamed_divisor"], ["rows"]),
        helper.make_node("Identity", ["source_mean"], ["shrunk_mean"]),
        helper.make_node("Identity", ["near"], ["shrunk_near"]),
    ]


def _to_target(helper: Any) -> list[Any]:
    """Directions ``v`` around B's mean to rows of B's space."""
    return [
        helper.make_node("MatMul", ["v", "target_mean"], ["along"]),
        helper.make_node("Mul", ["along", "along"], ["along2"]),
        helper.make_node("Add", ["along2", "beyond"], ["reach2"]),
        helper.make_node("Relu", ["reach2"], ["positive"]),
        helper.make_node("Sqrt", ["positive"], ["root"]),
        helper.make_node("Sub", ["root", "along"], ["whole"]),
        helper.make_node("Mul", ["whole", "trust"], ["trusted"]),
        helper.make_node("Add", ["trusted", "usual"], ["reach"]),
        helper.make_node("Mul", ["v", "reach"], ["moved"]),
        helper.make_node("Add", ["moved", "part"], ["row"]),
        helper.make_node("LpNormalization", ["row"], ["y"], axis=-1, p=2),
    ]


def _of_raw_rows(helper: Any) -> list[Any]:
    """Raw rows to rows that float32 can square, with the mean and the threshold shrunk alike."""
    return [
        helper.make_node("Div", ["largest", "large"], ["excess"]),
        helper.make_node("Max", ["excess", "one"], ["shrink"]),
        helper.make_node("Div", ["x", "shrink"], ["rows"]),
        helper.make_node("Div", ["source_mean", "shrink"], ["shrunk_mean"]),
        helper.make_node("Div", ["near", "shrink"], ["shrunk_near"]),
    ]
