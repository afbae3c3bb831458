"""A folder of tests in a process of its own, beside all others, in one report.

``pytest --beside tests/e2e`` starts that folder as a second pytest, which hands over its reports. End-to-end tests wait for
programs most of the time, so two cores are done sooner. pytest-xdist would spread all tests, and tests that fork hang in it.
The second process gets the tests by name and nothing else of the command line but ``--basetemp``.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

ENDS_S = 60.0  # how long the second process has after Ctrl-C


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--beside", metavar="FOLDER", help="run this folder's tests in a second process, beside the others"
    )
    parser.addoption("--reports-to", metavar="FILE", help="(of the second process) append each report here")


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("--reports-to"):
        config.pluginmanager.register(Reporter(config, Path(file)))
    if config.getoption("--beside") and not config.option.collectonly:
        config.pluginmanager.register(Beside(config))


class Reporter:
    """Writes what this process reports, one JSON line each, as long as there is somebody to read it."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        self.config, self.file, self.reader = config, file.open("a", buffering=1), os.getppid()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.pytest_runtest_logreport(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if os.getppid() != self.reader:
            pytest.exit("the process that reads the reports is gone")
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.file.write(json.dumps(data) + "\n")


class Beside:
    """Leaves a folder out, runs it beside the rest, and reports what it reported."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.folder = (config.rootpath / config.getoption("--beside")).resolve()
        self.left_out: list[str] = []

    @pytest.hookimpl(trylast=True)  # after marks from folders and -m
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.left_out = [item.nodeid for item in items if item.path.is_relative_to(self.folder)]
        items[:] = [item for item in items if not item.path.is_relative_to(self.folder)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        if not self.left_out or session.testsfailed:  # or files that cannot be collected, which ends the run
            return (yield)
        session.testscollected += len(self.left_out)
        factory = self.config._tmp_path_factory  # type: ignore[attr-defined]  # what the fixture of that name gives
        place = factory.mktemp("beside")
        with (place / "log").open("wb") as log:
            (place / "tests").write_text("\n".join(self.left_out))
            child = subprocess.Popen(
                self._command(place),
                cwd=self.config.rootpath,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C comes once, from here
                preexec_fn=heed_interrupts,
            )
            try:
                done = yield
                missing, failed = set(self.left_out), False
                for report in self._reports(place / "reports", child):
                    self._tell(report)
                    failed |= report.failed
                    if report.when == "teardown":
                        missing.discard(report.nodeid)
            finally:
                _end(child)
        if missing or child.returncode != (pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK):
            raise pytest.UsageError(
                f"the tests of {self.folder} ended with {child.returncode}, {len(missing)} of them without a report:\n"
                + (place / "log").read_text()[-5000:]
            )
        return done

    def _command(self, place: Path) -> list[str]:
        command = [sys.executable, "-m", "pytest", f"@{place / 'tests'}", f"--reports-to={place / 'reports'}"]
        given = self.config.option.basetemp
        return command + ([f"--basetemp={given}-beside"] if given else [])

    def _reports(
        self, file: Path, child: "subprocess.Popen[bytes]"
    ) -> Iterator[pytest.TestReport | pytest.CollectReport]:
        """What the second process reports, until it ended."""
        while not file.exists():
            if child.poll() is not None:
                return
            time.sleep(0.1)
        part = ""
        with file.open() as lines:
            while True:
                ended = child.poll() is not None  # asked first, so that nothing it wrote is missed
                for line in lines:
                    part += line
                    if part.endswith("\n"):
                        yield self._report(json.loads(part))
                        part = ""
                if ended:
                    return
                time.sleep(0.5)

    def _report(self, data: dict[str, Any]) -> Any:
        if isinstance(data["longrepr"], list):  # where and why a test was skipped, a tuple before it was JSON
            data["longrepr"] = tuple(data["longrepr"])
        return self.config.hook.pytest_report_from_serializable(config=self.config, data=data)

    def _tell(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        hook = self.config.hook
        if isinstance(report, pytest.CollectReport):
            hook.pytest_collectreport(report=report)
            return
        if report.when == "setup":
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGINT)
    try:
        child.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def heed_interrupts() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
