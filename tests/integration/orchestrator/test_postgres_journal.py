"""The journal on PostgreSQL, and with several processes on both databases."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.errors import LedError, SearchExistsError, StaleLeaderError
from orchestrator.journal import Cursor, Journal

OTHER = Driver(host="far", machine="another machine", pid=1, started="1", since=0.0)
WRITER = """
import sys
from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.errors import LedError, StaleLeaderError
from orchestrator.journal import Journal
url, number = sys.argv[1], int(sys.argv[2])
journal = Journal(url, lease_s=0.02)
driver = Driver(host=f"h{number}", machine=f"m{number}", pid=number, started="x", since=0.0)
written = 0
while written < 50:
    try:
        leader = journal.lead("race", driver)
        for _ in range(10):
            written += len(journal.append(leader, [events.noted("n", {"by": number, "fence": leader.fence})]))
    except (LedError, StaleLeaderError):
        pass
print(written)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found: str = request.getfixturevalue("postgres")
    return found


def test_a_search_is_led_written_and_read_on_postgresql(postgres: str) -> None:
    journal = Journal(postgres, lease_s=0.5)
    journal.create("s", [events.noted("a", {"ä": 0.1})], at=5.0)
    with pytest.raises(SearchExistsError):
        journal.create("s")
    old = journal.lead("s", OTHER)
    with pytest.raises(LedError, match="led by process 1 on far"):
        journal.lead("s", Driver.current())
    message = journal.post("s", "stop", {"by": "me"})
    [waiting] = journal.inbox("s")
    assert waiting.id == message
    journal.append(old, [events.stop_requested("me")], at=6.0, answered=[waiting])
    assert journal.inbox("s") == []
    time.sleep(0.6)
    new = journal.lead("s", Driver.current())
    with pytest.raises(StaleLeaderError):
        journal.append(old, [events.noted("late", {})])
    written = journal.append(new, [events.noted("b", {})] * 500)
    assert [event.seq for event in journal.read("s")] == list(range(1, 503))
    assert journal.read("s", after=2) == written
    journal.move("s", "mlflow", Cursor(3, {"run": "abc"}))
    assert journal.cursor("s", "mlflow") == Cursor(3, {"run": "abc"})
    assert journal.leader("s") == Driver.from_json(
        Driver.current().to_json() | {"since": journal.leader("s").since}
    )  # type: ignore[union-attr]  # a row is there
    journal.release(new)
    assert journal.names() == ("s",)
    journal.close()


def test_drivers_that_fight_never_interleave(url: str) -> None:
    """Four processes take each other's search over as fast as they can; the fence keeps their batches in order."""
    journal = Journal(url)
    journal.create("race")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    total = 0
    for writer in writers:
        out, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
        total += int(out)
    written = journal.read("race")
    assert [event.seq for event in written] == list(range(1, total + 1))
    fences = [event.body["data"]["fence"] for event in written]
    assert fences == sorted(fences)
    assert len({(event.body["data"]["fence"], event.body["data"]["by"]) for event in written}) == len(
        set(fences)
    )
    journal.close()
