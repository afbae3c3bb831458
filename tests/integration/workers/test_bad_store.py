"""The store on a server that misbehaves; each test prints how many requests it took."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bad_store import BUCKET, BadStore

from workers.errors import MissingKeyError, StoreError
from workers.store import READ_ATTEMPTS, Store, open_store

DATA = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadStore]:
    with BadStore() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        server.objects["set/key"] = DATA
        yield server


@pytest.fixture
def store(server: BadStore) -> Store:
    return open_store(f"s3://{BUCKET}/set")


@pytest.mark.parametrize("fault", ["short", "reset"])
def test_a_body_that_ends_early_is_resumed(server: BadStore, store: Store, fault: str) -> None:
    setattr(server.faults, fault, 3)
    assert store.get("key") == DATA
    print(f"{fault}: 3 cuts, {server.requests['GET']} requests")
    assert server.requests["GET"] == 4


@pytest.mark.parametrize("fault", ["short", "reset"])
def test_a_body_that_always_ends_early_is_an_error(server: BadStore, store: Store, fault: str) -> None:
    setattr(server.faults, fault, 1000)
    with pytest.raises(StoreError, match=r"set/key: cut short 5 times after \d+ of 3000000 bytes"):
        store.get("key")
    assert READ_ATTEMPTS <= server.requests["GET"] < 20


def test_a_small_body_that_ends_early_is_resumed(server: BadStore, store: Store) -> None:
    """It ends before the first part is whole, or in front of its last byte."""
    for size in (1, 2, 1000):
        server.objects["set/small"] = DATA[:size]
        server.faults.short = 2
        assert store.get("small") == DATA[:size]


def test_an_object_that_changes_while_it_is_read_is_an_error(server: BadStore, store: Store) -> None:
    server.faults.short = server.faults.change = 1
    with pytest.raises(StoreError, match="set/key: changed while it was read; try again"):
        store.get("key")
    assert store.get("key") == b"another" + DATA


def test_a_server_without_ranges_cannot_resume(server: BadStore, store: Store) -> None:
    server.faults.no_ranges = True
    assert store.get("key") == DATA
    server.faults.short = 1
    with pytest.raises(StoreError, match="its server ignores ranges"):
        store.get("key")


def test_a_swap_reads_past_a_cut(server: BadStore, store: Store) -> None:
    server.faults.short = 2
    assert store.swap("key", b"next", DATA)
    assert server.objects["set/key"] == b"next"
    server.objects["set/key"] = DATA
    server.faults.short = server.faults.change = 1
    with pytest.raises(StoreError, match="changed while it was read"):
        store.swap("key", b"next", DATA)
    assert server.objects["set/key"] == b"another" + DATA


def test_a_burst_of_503_is_waited_out(server: BadStore, store: Store) -> None:
    server.faults.busy = 2
    begin = time.monotonic()
    assert store.get("key") == DATA
    print(f"burst of 2: {server.requests['GET']} requests, {time.monotonic() - begin:.1f} s")
    assert server.requests["GET"] == 3


def test_throughput_recovers_after_a_burst(server: BadStore, store: Store) -> None:
    server.objects["set/small"] = b"small"
    store.get("small")
    server.faults.busy = 2
    store.get("small")
    server.requests.clear()
    begin = time.monotonic()
    for _ in range(50):
        store.get("small")
    print(f"50 reads after a burst: {time.monotonic() - begin:.2f} s")
    assert server.requests["GET"] == 50 and time.monotonic() - begin < 5


def test_a_storm_of_503_is_lived_through(server: BadStore, store: Store) -> None:
    """30 % of the requests are refused at random; eight threads read."""
    server.faults.busy_share = 0.3
    wrong: list[int] = []

    def read(number: int) -> None:
        for turn in range(3):
            if store.get("key") != DATA:
                wrong.append(8 * turn + number)

    begin = time.monotonic()
    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"30 %: 24 reads, {server.requests['GET']} requests, {time.monotonic() - begin:.1f} s")
    assert not wrong and 24 < server.requests["GET"] < 100


def test_503_for_ever_is_an_error(server: BadStore, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")  # eight tries take half a minute
    server.faults.busy_share = 1.0
    begin = time.monotonic()
    with pytest.raises(StoreError, match=r"127.0.0.1:\d+ is too busy \(SlowDown 3 times\); try later"):
        store.get("key")
    print(f"permanent 503: {server.requests['GET']} requests, {time.monotonic() - begin:.1f} s")
    assert server.requests["GET"] == 3 and time.monotonic() - begin < 10


ACTS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("key"),
    "put": lambda store: store.put("key", DATA),
    "put_if": lambda store: store.put("other", DATA, if_absent=True),
    "swap": lambda store: store.swap("key", DATA, DATA),
    "exists": lambda store: store.exists("key"),
    "size": lambda store: store.size("key"),
    "list": lambda store: store.list(),
    "delete": lambda store: store.delete("key"),
}


@pytest.mark.parametrize("act", ACTS)
def test_expired_credentials_are_asked_for_once_more(
    server: BadStore,
    store: Store,
    act: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mounted file gets new ones, as a rotating secret does; while it has not, the error tells no secret."""

    def give(key: str) -> None:
        path.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=hidden-{key}\n")

    path = tmp_path / "credentials"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    give("first-key")
    server.faults.valid_keys = frozenset({"first-key"})
    assert store.get("key") == DATA
    server.faults.valid_keys = frozenset({"second-key"})
    server.requests.clear()
    with pytest.raises(StoreError, match="refused the credentials") as caught:
        ACTS[act](store)
    assert server.requests.total() <= (
        4 if "HEAD" in server.requests else 2
    )  # botocore looks for its region, too
    assert "-key" not in str(caught.value) and "hidden" not in str(caught.value)
    assert "hidden" not in caplog.text
    give("second-key")
    ACTS[act](store)


def test_a_body_damaged_on_the_way_is_refused(server: BadStore, store: Store) -> None:
    server.faults.damage = 1
    with pytest.raises(StoreError, match="another checksum than it was sent with"):
        store.put("new", b"data")
    assert "set/new" not in server.objects
    assert store.put("new", b"data") and server.objects["set/new"] == b"data"


def test_a_lost_answer_is_not_taken_for_another_writer(server: BadStore, store: Store) -> None:
    assert store.put("first", b"1", if_absent=True)  # after the probe of the server
    server.faults.lost_answers = 1
    assert store.put("once", b"mine", if_absent=True)
    server.faults.lost_answers = 1
    assert store.swap("once", b"next", b"mine")
    assert not store.put("once", b"mine", if_absent=True)
    assert server.objects["set/once"] == b"next"


def test_what_is_not_there(server: BadStore, store: Store) -> None:
    with pytest.raises(MissingKeyError):
        store.get("absent")
    with pytest.raises(StoreError, match="bucket 'nowhere' not found"):
        open_store("s3://nowhere/set").get("key")
    server.objects["set/folder/key"] = b""
    assert store.list() == ("folder/key", "key") and store.list("folder/") == ("folder/key",)


@pytest.mark.parametrize("given", ["many", "0", "-1", ""])
def test_a_number_of_tries_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # no client is kept for it
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", given)
    with pytest.raises(StoreError, match=r"AWS_MAX_ATTEMPTS: .* given; allowed is a whole number from 1"):
        open_store("s3://tests/set").get("any")
