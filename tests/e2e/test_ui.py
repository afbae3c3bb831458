"""The MLflow UI as ``segsearch ui`` serves it, opened in a real browser."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """An installed Chromium, else Debian's where this user may install it; else these tests are skipped."""
    for attempt in range(2):
        for name in ("chromium", "chromium-browser", "google-chrome"):
            if path := shutil.which(name):
                return path
        if attempt == 0 and os.geteuid() == 0 and shutil.which("apt-get"):
            for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
                subprocess.run(command, check=False, capture_output=True, timeout=400)
    pytest.skip("no Chromium here, and none can be installed: the UI was not opened in a browser")


@pytest.fixture
def ui(finished: Any) -> Iterator[str]:
    """Address of the run list that a running UI names."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = finished.start("ui", "--port", str(port))
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("MLflow UI:"):
                break
        lists = [line.split(": ", 1)[1].strip() for line in said if line.startswith("runs of demo")]
        assert len(lists) == 1, said
        yield lists[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_the_runs_are_listed_with_their_dice(finished: Any, ui: str, chromium: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    told = finished.json("leaderboard", "demo")
    best = max((row for row in told["trials"] if row["value"] is not None), key=lambda row: row["value"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 2200, "height": 1000})
            page.goto(ui)
            page.get_by_text("small_unet").first.wait_for(timeout=90_000)
            page.get_by_text("Columns", exact=True).first.click()
            page.get_by_text("dice", exact=True).first.click()
            page.keyboard.press("Escape")
            page.get_by_text(f"{best['value']:.3f}"[:4]).first.wait_for(timeout=60_000)
            page.screenshot(path=str(tmp_path / "runs.png"))
            text = page.inner_text("body")
        finally:
            browser.close()
    assert "search demo" in text
    names = [line for line in text.splitlines() if line[:3].isdigit() and " " in line]
    assert names[0].startswith(f"{best['trial']:03d} ")  # sorted by Dice, the best first
    print(f"screenshot: {tmp_path / 'runs.png'}")
