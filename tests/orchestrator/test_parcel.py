"""What travels to a cluster, as one archive."""

import io
import os
import zipfile
from pathlib import Path

from orchestrator.parcel import make_parcel, pack


def test_equal_content_makes_equal_archives(tmp_path: Path) -> None:
    """Else a cluster would get, and unpack, the same code at every look at it."""
    archives = []
    for name, written in (("one", 1e9), ("two", 1.5e9)):
        (tmp_path / name / "inner").mkdir(parents=True)
        for file in ("b.py", "inner/a.json"):
            (tmp_path / name / file).write_text(file)
            os.utime(tmp_path / name / file, (written, written))
        archives.append(pack(tmp_path / name))
    assert archives[0] == archives[1]
    (tmp_path / "two" / "b.py").write_text("b.pz")
    assert pack(tmp_path / "two") != archives[0]


def test_an_archive_holds_the_files_of_a_parcel(tmp_path: Path) -> None:
    (tmp_path / "mine" / "venv").mkdir(parents=True)
    (tmp_path / "mine" / "venv" / "big.py").write_text("")
    (tmp_path / "mine" / "__init__.py").write_text("answer = 42\n")
    (tmp_path / "my.yaml").write_text("name: x\n")
    with make_parcel({"mine": tmp_path / "mine"}, tmp_path / "my.yaml") as parcel:
        data = pack(parcel)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert archive.read("mine/__init__.py") == b"answer = 42\n"
        assert archive.read("job.yaml") == b"name: x\n"
    assert {"orchestrator/probe.py", "workers/leg.py", "search_spaces/space.py"} <= set(names)
    assert not [name for name in names if "venv" in name or "__pycache__" in name]
