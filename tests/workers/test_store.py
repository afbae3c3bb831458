import threading
from pathlib import Path

import pytest

from workers.errors import MissingKeyError, StoreError
from workers.store import open_store


def test_a_folder_keeps_what_is_put(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "new"))
    assert store.put("a/b.bin", b"one")
    assert store.get("a/b.bin") == b"one"
    assert store.exists("a/b.bin") and store.size("a/b.bin") == 3
    assert store.local_path("a/b.bin") == tmp_path / "new/a/b.bin"
    store.put("a/c.bin", b"two")
    store.put("d", b"")
    assert store.list() == ("a/b.bin", "a/c.bin", "d")
    assert store.list("a/b") == ("a/b.bin",)
    store.delete("a/b.bin")
    store.delete("a/b.bin")
    assert not store.exists("a/b.bin")


def test_if_absent_leaves_what_is_there(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert store.put("key", b"first", if_absent=True)
    assert not store.put("key", b"second", if_absent=True)
    assert store.get("key") == b"first"
    assert store.put("key", b"third") and store.get("key") == b"third"


def test_swap_needs_what_it_expects(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert not store.swap("ref", b"b", b"a")
    assert store.swap("ref", b"a", None)
    assert not store.swap("ref", b"b", None)
    assert store.swap("ref", b"b", b"a")
    assert store.get("ref") == b"b"


def test_of_many_writers_one_wins(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("ref", b"0")
    won: list[str] = []

    def write(number: int) -> None:
        if store.put("once", str(number).encode(), if_absent=True):
            won.append(f"put {number}")
        if store.swap("ref", f"by {number}".encode(), b"0"):
            won.append(f"swap {number}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(word.split()[0] for word in won) == ["put", "swap"]


def test_no_writing_aside_is_left_over(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a", b"1", if_absent=True)
    store.put("a", b"2", if_absent=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_there_is_its_own_error(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with pytest.raises(MissingKeyError, match="absent: nothing there"):
        store.get("absent")
    with pytest.raises(MissingKeyError):
        store.size("absent")


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """A file stands where a folder is needed, which stops root, too."""
    (tmp_path / "file").write_bytes(b"")
    store = open_store(str(tmp_path))
    for act in (
        lambda: store.put("file/key", b""),
        lambda: store.swap("file/key", b"", None),
        lambda: store.delete("file/key"),
    ):
        with pytest.raises(
            StoreError, match=r"file/key: cannot be (written|removed) \(.*[Nn]ot a directory|exists"
        ):
            act()


@pytest.mark.parametrize("key", ["../up", "a/../b", "/root", "a//b", ".hidden", "a\\b", "", "a\0b", "a/"])
def test_keys_stay_inside(tmp_path: Path, key: str) -> None:
    with pytest.raises(StoreError, match="names joined by '/'"):
        open_store(str(tmp_path)).put(key, b"")


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("file:///data", "scheme file; allowed are a folder or s3"),
        ("http://server/data", "scheme http"),
        ("s3://key:secret@bucket/data", "holds credentials"),
        ("s3://bucket:9000/data", "a host or a port"),
        ("s3://bucket/data?endpoint_override=evil", "holds options"),
        ("s3://10.0.0.1/data", "'10.0.0.1' is no bucket name"),
        ("s3:///data", "'' is no bucket name"),
        ("s3://bucket/../other", "names joined by '/'"),
        ("", "not a path"),
    ],
)
def test_locations_that_are_refused(location: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        open_store(location)
    assert "secret" not in str(caught.value) and "evil" not in str(caught.value)


def test_a_bucket_is_not_contacted_before_it_is_used() -> None:
    assert open_store("s3://bucket/some/prefix/").location == "s3://bucket/some/prefix"
    assert open_store("s3://bucket").location == "s3://bucket"
    assert open_store("s3://bucket/a").local_path("key") is None
