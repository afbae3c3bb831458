"""What libraries would tell their makers of a user's machine."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import workers.network_file
from onnx import TensorProto, helper
import onnxruntime
tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", tensor[:1], tensor[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
onnxruntime.InferenceSession(model.SerializeToString())
"""


def test_onnxruntime_collects_nothing(tmp_path: Path) -> None:
    """From 1.32 on it writes an id of the machine, what it did and the path of Python, and sends that where it can."""
    names = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", SCRIPT], env={**kept, **names}, check=True, timeout=120)
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name.lower()] == []
