"""The supervisor: which ends of a driver are final, which are followed by another one. Drivers are small real processes."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from orchestrator import supervisor as module
from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.journal import Journal
from orchestrator.supervisor import Supervisor

HERE = Path(__file__).parents[2]
DRIVER = """
import os, signal, sys
sys.path.insert(0, {here!r})
from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.journal import Journal
journal = Journal({url!r})
leader = journal.lead("s", Driver.current())
starts = len(journal.read("s"))
{body}
"""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.0,) * 3)
    monkeypatch.setattr(module, "PATIENCE_S", 1.0)


def supervise(tmp_path: Path, body: str) -> tuple[int, list[str], int]:
    """Exit code, what was said, and how many events there are at the end."""
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = Journal(url, lease_s=0.5)
    journal.create("s")
    said: list[str] = []
    code = DRIVER.format(here=str(HERE), url=url, body=textwrap.dedent(body))
    ended = Supervisor("s", [sys.executable, "-c", code], journal, said.append).run()
    count = len(journal.read("s"))
    journal.close()
    return ended, said, count


WORK = "journal.append(leader, [events.noted('work', {})])"


def test_a_driver_that_is_killed_is_started_again_and_goes_on(tmp_path: Path) -> None:
    code, said, count = supervise(
        tmp_path, f"{WORK}\nif starts < 4: os.kill(os.getpid(), signal.SIGKILL)\njournal.release(leader)"
    )
    assert code == 0 and count == 5
    assert sum("ended with SIGKILL; it starts again" in line for line in said) == 4


@pytest.mark.parametrize("code", [2, 130])
def test_a_driver_that_says_that_something_is_wrong_is_not_started_again(tmp_path: Path, code: int) -> None:
    assert supervise(tmp_path, f"{WORK}\nsys.exit({code})") == (code, [], 1)


def test_a_driver_that_gets_nothing_done_is_given_up(tmp_path: Path) -> None:
    code, said, _ = supervise(tmp_path, "sys.exit(1)")
    assert code == 1
    assert said[-1] == "the driver ended with exit code 1 and got nothing done; giving up."
    assert len(said) == 3


def test_a_search_that_is_over_is_not_tried_again_and_again(tmp_path: Path) -> None:
    done = "journal.append(leader, [events.finished('trials')]) if starts == 0 else None\nsys.exit(1)"
    code, said, _ = supervise(tmp_path, done)
    assert code == 1 and len(said) == 2


def test_an_extended_search_is_tried_again(tmp_path: Path) -> None:
    """It finished once, but is not over: a driver that dies before it gets anything done has another try."""
    body = """
        if starts == 0:
            journal.append(leader, [events.finished("trials"), events.extended(trials=1)])
        sys.exit(1)
    """
    code, said, _ = supervise(tmp_path, body)
    assert code == 1 and len(said) == 4


def test_a_search_with_a_living_driver_is_refused_with_its_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = Journal(url)
    journal.create("s", [events.noted("a", {})])
    other = Driver(host="far", machine="another", pid=7, started="1", since=0.0)
    journal.lead("s", other)
    said: list[str] = []
    assert Supervisor("s", ["false"], journal, said.append).run() == 2
    assert "is led by process 7 on far since" in said[-1]
    journal.close()


def test_sigterm_reaches_the_driver(tmp_path: Path) -> None:
    code = f"""
import sys
from orchestrator.supervisor import Supervisor
from orchestrator.journal import Journal
sleep = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(130)); print('on', flush=True); time.sleep(60)"
command = [sys.executable, "-c", sleep]
sys.exit(Supervisor("s", command, Journal("sqlite:///{tmp_path}/j.db"), print).run())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=HERE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "on\n"
        threading.Timer(0.1, os.kill, (process.pid, signal.SIGTERM)).start()
        begun = time.monotonic()
        assert process.wait(30) == 130
        assert time.monotonic() - begun < 20
