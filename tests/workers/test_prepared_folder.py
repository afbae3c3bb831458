"""The node's folder of prepared cases: its limit holds for all processes together."""

import subprocess
import sys
from pathlib import Path

import pytest

from workers.prepared_folder import PreparedGroup


def test_processes_together_keep_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them fill a folder at once; one is killed with its reserve, which comes free."""
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", "100kB")
    script = (
        "import sys; from pathlib import Path; from workers.prepared_folder import PreparedGroup\n"
        "group = PreparedGroup(Path(sys.argv[1]), 'one'); group.hold(); written = 0\n"
        "while group.admits(1000):\n"
        "    (group.path / f'{sys.argv[2]}-{written}').write_bytes(bytes(1000)); written += 1\n"
        "print(written, flush=True); input()"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    try:
        counts = [int(one.stdout.readline()) for one in writers if one.stdout is not None]
    finally:
        for one in writers:
            one.kill()
            one.communicate()
    assert 95 <= sum(counts) <= 100
    assert sum(path.stat().st_size for path in (tmp_path / "prepared" / "one").glob("*-*")) == 1000 * sum(
        counts
    )
    group = PreparedGroup(tmp_path, "one")
    group.hold()
    left = 100_000 - 1000 * sum(counts)
    assert group.admits(left)
    (group.path / "last").write_bytes(bytes(left))
    assert not group.admits(1)
    assert len(list(group.path.glob("reserve.*"))) == 1
