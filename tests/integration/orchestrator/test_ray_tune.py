"""The Ray executor on a real local Ray: slots side by side, shapes, a killed slot, a killed driver."""

import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ExecutorError
from orchestrator.executor import Result
from orchestrator.executors.ray_tune import RayTuneExecutor
from workers.contract import DataView, EpochResult, Leg, LegResult

SLEEPER = """
import os, time
from workers.contract import EpochResult, LegResult

def run_leg(leg, report, should_stop):
    begun, epoch, stopped = time.time(), leg.first_epoch, False
    if leg.candidate.get("raises"):
        raise KeyError("broken")
    while epoch < leg.last_epoch and not stopped:
        time.sleep(0.5)
        epoch += 1
        card = float(os.environ.get("CUDA_VISIBLE_DEVICES") or -1)
        facts = {"pid": float(os.getpid()), "begun": begun, "card": card}
        report(EpochResult(search=leg.search, trial=leg.trial, fence=leg.fence, epoch=epoch, loss=0.0, metrics=facts,
                           seconds=0.5, train_seconds=0.5, at=time.time(), checkpoint="c"))
        stopped = should_stop()
    return LegResult(search=leg.search, trial=leg.trial, fence=leg.fence, epoch=epoch, at=time.time(),
                     status="completed" if epoch == leg.last_epoch else "stopped", seconds=time.time() - begun)
"""


def leg(trial: int, *, epochs: int = 1, threads: int = 1, raises: bool = False, **more: Any) -> Leg:
    return Leg(
        search="s", trial=trial, fence=trial + 1, candidate={"raises": raises}, seed=0, first_epoch=0,
        last_epoch=epochs, max_epochs=epochs, checkpoint=None, storage="x", threads=threads,
        data=DataView(dataset="d", digest="d", view="slices", size=(8, 8), batch=1), **more,
    )  # fmt: skip


def until_ended(place: RayTuneExecutor, *trials: int) -> list[Result]:
    """Everything reported until these trials' legs ended."""
    found: list[Result] = []
    missing, deadline = set(trials), time.monotonic() + 120
    while missing:
        assert time.monotonic() < deadline, f"legs of {missing} did not end; seen: {found}"
        found += place.poll(1.0)
        missing -= {item.trial for item in found if isinstance(item, LegResult)}
    return found


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the module ``sleeper``, which the processes of Ray can import."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "sleeper.py").write_text(SLEEPER)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def place(modules: Path) -> Iterator[RayTuneExecutor]:
    executor = RayTuneExecutor(slots=2, run_leg="sleeper:run_leg")
    yield executor
    executor.close()


def test_legs_run_side_by_side_on_slots_that_stay(place: RayTuneExecutor) -> None:
    assert place.free == 2
    for trial in range(6):
        place.start(leg(trial))
    assert place.free == 0
    found = until_ended(place, *range(6))
    epochs = [item for item in found if isinstance(item, EpochResult)]
    assert len({item.metrics["pid"] for item in epochs}) == 2
    spans = sorted((item.metrics["begun"], item.at) for item in epochs)
    assert any(later < end for (_, end), (later, _) in itertools.pairwise(spans))
    assert place.free == 2


def test_a_leg_is_stopped_after_an_epoch(place: RayTuneExecutor) -> None:
    place.start(leg(10, epochs=50))
    while not place.poll(1.0):
        pass
    place.stop(10)
    last = until_ended(place, 10)[-1]
    assert isinstance(last, LegResult) and last.status == "stopped" and last.epoch < 10


def test_a_leg_may_take_the_whole_machine(place: RayTuneExecutor) -> None:
    place.start(leg(20, threads=2))
    until_ended(place, 20)
    place.start(leg(21))
    until_ended(place, 21)


def test_a_killed_slot_is_told_and_replaced(place: RayTuneExecutor) -> None:
    place.start(leg(30, epochs=50))
    while not place.poll(1.0):
        pass
    pid = place.slot_pids()[30]
    os.kill(pid, 9)
    lost = until_ended(place, 30)[-1]
    assert isinstance(lost, LegResult) and lost.status == "failed" and lost.epoch >= 1
    assert lost.message == f"slot lost: process {pid} died"
    place.start(leg(31))
    until_ended(place, 31)


def test_an_exception_is_a_failed_leg(place: RayTuneExecutor) -> None:
    place.start(leg(40, raises=True))
    [failed] = until_ended(place, 40)
    assert isinstance(failed, LegResult) and failed.message.startswith("KeyError: 'broken'\n")


def test_ports_are_on_loopback_only_and_no_token_is_left(place: RayTuneExecutor) -> None:
    place.start(leg(50))
    until_ended(place, 50)
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
            if place._folder.name in command or "ray::" in command:
                inodes |= {str(entry.readlink()) for entry in (process / "fd").iterdir()}
        except OSError:
            continue  # it ended meanwhile, or is not ours
    assert inodes
    for family, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            address, state, inode = fields[1].split(":")[0], fields[3], fields[9]
            if state == "0A" and f"socket:[{inode}]" in inodes:  # listening
                assert address in (loopback, "0000000000000000FFFF00000100007F"), line
    assert "RAY_AUTH_TOKEN_PATH" in os.environ or not (Path.home() / ".ray" / "auth_token").exists()


def test_a_run_leg_that_cannot_be_loaded_ends_the_executor(place: RayTuneExecutor, modules: Path) -> None:
    place.close()
    broken = RayTuneExecutor(slots=1, run_leg="no_such_module:run_leg")
    broken.start(leg(60))
    with pytest.raises(ExecutorError, match="cannot load no_such_module:run_leg: ModuleNotFoundError"):
        until_ended(broken, 60)
    broken.close()


def test_a_slot_with_a_card_has_it_to_itself(place: RayTuneExecutor, modules: Path) -> None:
    """Ray is told of two cards; that they do not exist is nothing to a leg that only sleeps."""
    place.close()
    cards = RayTuneExecutor(slots=2, slot_gpus=1, run_leg="sleeper:run_leg")
    try:
        for trial in range(4):
            cards.start(leg(trial, device="cuda"))
        found = until_ended(cards, *range(4))
    finally:
        cards.close()
    epochs = [item for item in found if isinstance(item, EpochResult)]
    by_card = {card: {e.metrics["pid"] for e in epochs if e.metrics["card"] == card} for card in (0.0, 1.0)}
    assert [len(pids) for pids in by_card.values()] == [1, 1]
    assert len(epochs) == 4


def test_slots_that_share_a_card_run_side_by_side(place: RayTuneExecutor, modules: Path) -> None:
    place.close()
    cards = RayTuneExecutor(slots=3, slot_gpus=1 / 3, run_leg="sleeper:run_leg")
    try:
        for trial in range(3):
            cards.start(leg(trial, epochs=12, device="cuda", per_card=3))
        found = until_ended(cards, *range(3))
    finally:
        cards.close()
    epochs = [item for item in found if isinstance(item, EpochResult)]
    assert {epoch.metrics["card"] for epoch in epochs} == {0.0}
    assert len({epoch.metrics["pid"] for epoch in epochs}) == 3


def test_ray_ends_with_a_killed_driver_and_its_folder_is_removed_by_the_next(modules: Path) -> None:
    code = """
        import sys
        sys.path[:0] = [{modules!r}, {here!r}]
        from test_ray_tune import RayTuneExecutor, leg
        place = RayTuneExecutor(slots=1, run_leg="sleeper:run_leg")
        place.start(leg(1, epochs=1000))
        while not place.poll(1.0):
            pass
        print(place._folder, flush=True)
        place.poll(1000.0)
    """
    text = textwrap.dedent(code).format(modules=str(modules), here=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        folder = Path(driver.stdout.readline().strip())
        assert folder.is_dir()
        assert _processes(folder)
        driver.kill()
    deadline = time.monotonic() + 30
    while _processes(folder) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not _processes(folder)
    os.utime(folder, (0, 0))
    place = RayTuneExecutor(slots=1, run_leg="sleeper:run_leg")
    place.start(leg(2))
    until_ended(place, 2)
    assert not folder.exists()
    place.close()


def _processes(folder: Path) -> list[str]:
    """Servers of the Ray that lives in a folder: their command lines name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if str(folder) in command and "-c" not in command.split():
            found.append(command[:80])
    return found
