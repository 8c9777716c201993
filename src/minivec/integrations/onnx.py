"""The map as an ONNX graph, for onnxruntime and whatever else runs those."""

import json
from pathlib import Path

import numpy as np

from minivec.files import replacing
from minivec.map import LinearMap

OPSET, IR = 17, 8  # understood by onnxruntime 1.13 and newer


def save(adapter: LinearMap, path: str | Path) -> None:
    """Write ``adapter`` as a graph from raw rows ``x`` (n, dA) to unit rows ``y`` (n, dB), float32, any n.

    The history is in the model's metadata under "minivec". Raises ImportError without the onnx package.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError as error:
        raise ImportError("ONNX files need the onnx package: pip install 'minivec[onnx]'") from error

    dA, dB = adapter.shape
    share, mean = np.float32(adapter.share), adapter.weights["target_mean"]
    constants = {
        "source_mean": adapter.weights["source_mean"],
        "W": adapter.weights["W"],
        "target_mean": mean[:, None],
        "beyond": np.float32(adapter.beyond),
        "part": share * mean,
    }
    nodes = [
        helper.make_node("Sub", ["x", "source_mean"], ["centred"]),
        helper.make_node("MatMul", ["centred", "W"], ["z"]),
        helper.make_node("LpNormalization", ["z"], ["v"], axis=-1, p=2),
        helper.make_node("MatMul", ["v", "target_mean"], ["along"]),
        helper.make_node("Mul", ["along", "along"], ["along2"]),
        helper.make_node("Add", ["along2", "beyond"], ["reach2"]),
        helper.make_node("Relu", ["reach2"], ["positive"]),
        helper.make_node("Sqrt", ["positive"], ["root"]),
        helper.make_node("Sub", ["root", "along"], ["reach"]),
        helper.make_node("Mul", ["v", "reach"], ["moved"]),
        helper.make_node("Add", ["moved", "part"], ["row"]),
        helper.make_node("LpNormalization", ["row"], ["y"], axis=-1, p=2),
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
