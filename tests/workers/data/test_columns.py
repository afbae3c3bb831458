"""Columns laid out by numpy are what pyarrow makes of the same values."""

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from workers.data.columns import column

BYTES = [b"", b"ab", None, memoryview(b"xyz"), b"\0" * 9]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([3, None, -1, 0, 2, 1, None, 4, 5], pa.int8()),
        ([1, 2, 2**31 - 1], pa.int32()),
        ([0.5, None, 0.0, 1e-3], pa.float32()),
        (["", "añ\u0301", None, "x" * 300], pa.string()),
        ([None, None], pa.string()),
        (BYTES, pa.large_binary()),
        ([b"a" * 32, None, b"b" * 32], pa.binary(32)),
        ([(3, 480, 360), (1, 2), ()], pa.list_(pa.int32())),
        ([None, (0.7, 2.5, 0.0), None], pa.list_(pa.float32())),
        ([], pa.list_(pa.float32())),
    ],
)
def test_a_column_is_stored_as_pyarrow_would(values: list[Any], kind: Any) -> None:
    mine, theirs = column(values, kind), pa.array(values, kind)
    mine.validate(full=True)
    assert mine.equals(theirs) and mine.type == kind
    assert stored(mine) == stored(theirs)


def stored(array: Any) -> bytes:
    batch = pa.record_batch([array], names=["values"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def test_a_batch_is_made_and_read_without_pandas() -> None:
    """Its import takes longer than to check a hundred pictures."""
    program = """
import sys
import pyarrow as pa
from workers.data.format import Row, rows_of, shard_schema, to_batch
row = Row("a", "train", None, (3, 1, 1), b"x", "png", "uint8", b"0" * 32, b"y", b"1" * 32, None, None)
assert rows_of(to_batch([row], shard_schema("d"))) == (row,)
print("pandas" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
