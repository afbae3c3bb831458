"""A user's modules: found, refused in words, digested by content, and what of them travels."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.parcel import JOB, make_parcel
from orchestrator.plugins import PluginError, load_plugin, make_importable, plugin_files
from search_spaces.candidate import digest
from search_spaces.foreign import code_digest, foreign_code
from search_spaces.loss import Loss, Weighted
from search_spaces.preset import load_preset


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported until the test ends."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    make_importable(tmp_path)
    code_digest.cache_clear()
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    code_digest.cache_clear()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("not_there", None, "no module 'not_there' beside the job file"),
        ("needs_more", "import no_such_thing", "needs_more imports 'no_such_thing', which is not installed"),
        ("fails", "x = 1\nraise KeyError('a')", r"fails fails to import: KeyError: 'a' \(fails.py, line 2\)"),
        ("wrong", "def f(:", "wrong fails to import: SyntaxError"),
        ("workers", None, "'workers' is the name of a module of segsearch or Python; rename yours"),
        ("json", None, "'json' is the name of a module of segsearch or Python; rename yours"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_refused(
    folder: Path, name: str, text: str | None, sentence: str
) -> None:
    if text is not None:
        (folder / f"{name}.py").write_text(text)
    with pytest.raises(PluginError, match=sentence):
        load_plugin(name)


def test_digest_is_of_the_content_of_a_file_or_a_whole_package(folder: Path) -> None:
    (folder / "one_file.py").write_text("a = 1\n")
    (folder / "pack").mkdir()
    (folder / "pack" / "__init__.py").write_text("")
    (folder / "pack" / "inner.py").write_text("b = 1\n")
    for name in ("one_file", "pack"):
        load_plugin(name)
    first = code_digest("one_file"), code_digest("pack")
    code_digest.cache_clear()
    assert (code_digest("one_file"), code_digest("pack")) == first
    (folder / "one_file.py").write_text("a = 2\n")
    (folder / "pack" / "inner.py").write_text("b = 2\n")
    code_digest.cache_clear()
    assert not {code_digest("one_file"), code_digest("pack")} & set(first)


def test_a_candidate_is_named_with_the_code_of_a_users_entry(folder: Path) -> None:
    source = """
from dataclasses import dataclass
from typing import ClassVar
from search_spaces.loss import LossTerm
from search_spaces.register import entry

@entry("of_test_plugins")
@dataclass(frozen=True, slots=True)
class Mine(LossTerm):
    role: ClassVar[str] = "distribution"
    def value(self, scores):
        return scores.logits.sum() * {scale}
"""
    (folder / "mine_of_test.py").write_text(source.format(scale=1))
    load_plugin("mine_of_test")
    base = load_preset("small_unet").candidate()
    assert foreign_code(base) == {}
    mine = type(base)(base.architecture, Loss((Weighted(sys.modules["mine_of_test"].Mine()),)))
    assert list(foreign_code(mine)) == ["mine_of_test"]
    before = digest(mine)
    (folder / "mine_of_test.py").write_text(source.format(scale=2))
    code_digest.cache_clear()
    assert digest(mine) != before


def test_a_parcel_holds_our_code_the_users_and_the_job(folder: Path) -> None:
    (folder / "travels.py").write_text("a = 1\n")
    (folder / "pack2" / "__pycache__").mkdir(parents=True)
    (folder / "pack2" / "__init__.py").write_text("")
    (folder / "my.yaml").write_text("name: x\n")
    files = plugin_files(["travels", "pack2", "yaml"])  # the last is installed everywhere
    assert set(files) == {"travels", "pack2"}
    with make_parcel(files, folder / "my.yaml") as parcel:
        names = {path.name for path in parcel.iterdir()}
        assert names == {"orchestrator", "search_spaces", "workers", "travels.py", "pack2", JOB}
        assert (parcel / "orchestrator" / "supervisor.py").exists()
        assert not list(parcel.rglob("__pycache__"))
        for name in ("search_spaces", "workers"):
            assert {p.name for p in (parcel / name).rglob("*.py")} == {
                p.name for p in (Path(__file__).parents[2] / name).rglob("*.py")
            }
    assert not parcel.exists()
