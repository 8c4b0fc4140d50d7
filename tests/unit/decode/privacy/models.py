"""A real detector for tests: an ONNX graph that finds what is red, in cells of 16 pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELL_PX = 16


def red_detector(
    height: int | str = "height",
    width: int | str = "width",
    *,
    outputs: dict[str, str] | None = None,
    channels: int = 3,
    least: float = 0.3,
) -> Any:
    """Red less green, averaged over cells, above ``least``: boxes of the cells, that value as score, and label 7.

    Args:
        outputs: other names for outputs.
    """
    named = {"boxes": "boxes", "scores": "scores", "labels": "labels"} | (outputs or {})
    weights = np.zeros((1, channels, CELL_PX, CELL_PX), np.float32)
    weights[0, 0], weights[0, 1] = CELL_PX**-2, -(CELL_PX**-2)
    constants = {
        "weights": weights,
        "least": np.array(least, np.float32),
        "y_of": np.array([2]),
        "x_of": np.array([3]),
        "axis_0": np.array([0]),
        "cell": np.array(CELL_PX),
        "zero": np.array(0),
        "seven": np.array(7),
    }
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["map"], strides=[CELL_PX, CELL_PX]),
        helper.make_node("Greater", ["map", "least"], ["is_red"]),
        helper.make_node("NonZero", ["is_red"], ["found"]),
        helper.make_node("Transpose", ["found"], ["places"], perm=[1, 0]),
        helper.make_node("GatherND", ["map", "places"], [named["scores"]]),
        helper.make_node("Gather", ["found", "y_of"], ["rows"], axis=0),
        helper.make_node("Gather", ["found", "x_of"], ["columns"], axis=0),
        helper.make_node("Mul", ["rows", "cell"], ["top"]),
        helper.make_node("Mul", ["columns", "cell"], ["left"]),
        helper.make_node("Add", ["top", "cell"], ["bottom"]),
        helper.make_node("Add", ["left", "cell"], ["right"]),
        helper.make_node("Concat", ["left", "top", "right", "bottom"], ["sides"], axis=0),
        helper.make_node("Transpose", ["sides"], ["corners"], perm=[1, 0]),
        helper.make_node("Cast", ["corners"], [named["boxes"]], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["rows", "axis_0"], ["row"]),
        helper.make_node("Mul", ["row", "zero"], ["none"]),
        helper.make_node("Add", ["none", "seven"], [named["labels"]]),
    ]
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, height, width])],
        [
            helper.make_tensor_value_info(named["boxes"], TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info(named["scores"], TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info(named["labels"], TensorProto.INT64, ["n"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def with_weights_beside(path: Path) -> bytes:
    """A model whose weights lie in a file of their own, in the folder of ``path``."""
    onnx.save_model(red_detector(), path, save_as_external_data=True, location="weights.bin", size_threshold=16)
    return path.read_bytes()
