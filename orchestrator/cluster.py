"""A Ray cluster seen from outside: who may enter, what its nodes have, and jobs on its head."""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.errors import PlaceError
from orchestrator.slots import Node

ANSWER_S = 5.0  # for one request
POLL_S = 0.1
LABEL = "segsearch"  # metadata of our jobs: the name of the search
OVER = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job of ours on a cluster."""

    id: str
    status: str
    began: float


class NoAnswerError(PlaceError):
    """The head ran a command, which printed no answer."""


class Cluster:
    """Talks to the dashboard of a cluster.

    Args:
        address: ``http://HOST:8265``.

    Raises:
        PlaceError: The address has another form.
    """

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PlaceError(
                f"address {address!r}: expected http://HOST:8265, the address of Ray's dashboard."
            )
        if parts.username or parts.password or parts.query:
            raise PlaceError(
                "address: holds credentials or options; the token belongs into RAY_AUTH_TOKEN_PATH."
            )
        self.address = f"{parts.scheme}://{parts.netloc}"

    def enter(self, *, allow_open: bool) -> str:
        """Show the token; Ray's version on the cluster.

        Raises:
            PlaceError: Nothing answers, no token or a wrong one, or an open cluster that is not allowed.
        """
        token = auth_token()
        answer = self._status("/api/version", token=None)
        if answer not in (200, 401, 403):
            raise PlaceError(
                f"{self.address}: what answers there ({answer}) is not Ray's dashboard, usually port 8265."
            )
        if answer == 200:
            if not allow_open:
                raise PlaceError(
                    f"{self.address}: the cluster asks for no token, so anyone who reaches it may run code there; start it "
                    "with RAY_AUTH_MODE=token, or accept that with --allow-open."
                )
        elif token is None:
            raise PlaceError(
                f"{self.address}: the cluster asks for a token; put it into a file and set RAY_AUTH_TOKEN_PATH to it."
            )
        elif self._status("/api/version", token=token) in (401, 403):
            raise PlaceError(
                f"{self.address}: the cluster refused the token; compare RAY_AUTH_TOKEN, or the file that RAY_AUTH_TOKEN_PATH "
                "names (else ~/.ray/auth_token), with the cluster's."
            )
        if token is not None:
            os.environ["RAY_AUTH_MODE"] = "token"  # Ray's own client looks for the token only then
        return str(self._get("/api/version")["ray_version"])

    def nodes(self) -> tuple[Node, ...]:
        """Machines of the cluster that are alive."""
        rows = self._get("/api/v0/nodes?detail=1&limit=10000")["data"]["result"]["result"]
        return tuple(
            Node(
                row["node_ip"],
                int(row["resources_total"].get("CPU", 0)),
                int(row["resources_total"].get("GPU", 0)),
            )
            for row in rows
            if row["state"] == "ALIVE"
        )

    def submit(self, command: str, folder: Path, *, search: str = "") -> str:
        """Run a command on the head in a copy of a folder; the job's id."""
        name = f"segsearch-{search or 'errand'}-{uuid.uuid4().hex[:8]}"
        return str(
            self._call(
                "submit_job",
                entrypoint=command,
                submission_id=name,
                runtime_env={"working_dir": str(folder)},
                metadata={LABEL: search} if search else {},
            )
        )

    def jobs(self, search: str) -> list[SubmittedJob]:
        """Jobs of a search, newest first."""
        found = [
            SubmittedJob(job.submission_id, job.status.value, (job.start_time or 0) / 1000)
            for job in self._call("list_jobs")
            if job.submission_id and (job.metadata or {}).get(LABEL) == search
        ]
        return sorted(found, key=lambda job: -job.began)

    def status(self, job: str) -> str:
        """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
        return str(self._call("get_job_status", job).value)

    def logs(self, job: str) -> str:
        """All that a job printed so far."""
        return str(self._call("get_job_logs", job))

    def wait(self, job: str, *, timeout_s: float) -> str:
        """Wait for the end of a job; all that it printed.

        Raises:
            PlaceError: It does not end in time.
        """
        end = time.monotonic() + timeout_s
        while self.status(job) not in OVER:
            if time.monotonic() > end:
                raise PlaceError(
                    f"{self.address}: job {job} does not end within {timeout_s:.0f} s; look at its logs."
                )
            time.sleep(POLL_S)
        return self.logs(job)

    def answer(self, command: str, folder: Path, *, mark: str, timeout_s: float) -> Any:
        """Run a command on the head and read the JSON that it prints on one line after a mark.

        Raises:
            NoAnswerError: It printed none; the message is the last that it printed.
            PlaceError: It does not end in time.
        """
        lines = self.wait(self.submit(command, folder), timeout_s=timeout_s).strip().splitlines()
        for line in lines:
            if line.startswith(mark):
                return json.loads(line.removeprefix(mark))
        raise NoAnswerError(lines[-1] if lines else "nothing was printed")

    def follow(self, job: str, *, poll_s: float = 1.0) -> Iterator[str]:
        """What a job prints, as it comes, until it ends."""
        shown = 0
        while True:
            over = self.status(job) in OVER
            text = self.logs(job)
            if len(text) > shown:
                yield text[shown:]
                shown = len(text)
            if over:
                return
            time.sleep(poll_s)

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """A call of Ray's own client, whose errors are of many kinds."""
        try:
            return getattr(self._client, method)(*arguments, **named)
        except (RuntimeError, OSError) as error:  # an answer that is an error, and no answer
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise PlaceError(
                f"{self.address}: {method} failed ({first}); does the cluster still run?"
            ) from None

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(self.address + path, headers=_headers(auth_token()))
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return json.load(answer)

    def _status(self, path: str, *, token: str | None) -> int:
        request = urllib.request.Request(self.address + path, headers=_headers(token))
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise PlaceError(
                f"{self.address}: nothing answers there ({reason}); it must be Ray's dashboard, usually port 8265."
            ) from None

    @cached_property
    def _client(self) -> Any:
        import logging

        from ray.job_submission import JobSubmissionClient

        for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return JobSubmissionClient(self.address)


def auth_token() -> str | None:
    """The user's token, where Ray looks for it: two variables, then a file in the home folder."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
