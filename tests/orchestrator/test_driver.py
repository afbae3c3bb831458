"""Who drives, and whether it lives."""

import json
import os
import subprocess
import sys
from dataclasses import replace

from orchestrator.driver import Driver


def test_this_process_lives() -> None:
    me = Driver.current()
    assert not me.is_dead()
    assert Driver.from_json(me.to_json()) == me


def test_an_ended_process_is_dead_before_and_after_it_is_reaped() -> None:
    code = "import json; from orchestrator.driver import Driver; print(json.dumps(Driver.current().to_json())); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        driver = Driver.from_json(json.loads(child.stdout.readline()))
        assert driver.pid == child.pid and not driver.is_dead()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert driver.is_dead()
    assert driver.is_dead()


def test_another_machine_cannot_be_known_and_another_start_is_another_process() -> None:
    me = Driver.current()
    assert not replace(me, machine="elsewhere", pid=2**22 + 1).is_dead()
    assert replace(me, started="1").is_dead()
