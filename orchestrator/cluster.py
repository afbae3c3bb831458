"""A Ray cluster seen from outside: who may enter, what its nodes have, and jobs on its head.

Jobs go through the REST interface of Ray's dashboard, whose job routes Ray documents as stable. The upload of a working folder
(``/api/packages``) it does not document: it is what Ray's own client does in the versions that ``pyproject.toml`` allows. That
client is not used, as importing Ray takes a quarter of the time of a whole look at a cluster.
"""

import contextlib
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import PlaceError
from orchestrator.parcel import pack
from orchestrator.slots import Node

ANSWER_S = 5.0  # for a question to the dashboard
WORK_S = 60.0  # for a request that the job server works on: an upload, a submission, a log
POLL_S = 0.05
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
        return str(self._ask("get_version", "/api/version", timeout_s=ANSWER_S)["ray_version"])

    def nodes(self) -> tuple[Node, ...]:
        """Machines of the cluster that are alive."""
        rows = self._ask("list_nodes", "/api/v0/nodes?detail=1&limit=10000", timeout_s=ANSWER_S)
        return tuple(
            Node(
                row["node_ip"],
                int(row["resources_total"].get("CPU", 0)),
                int(row["resources_total"].get("GPU", 0)),
            )
            for row in rows["data"]["result"]["result"]
            if row["state"] == "ALIVE"
        )

    def submit(self, command: str, folder: Path, *, search: str = "") -> str:
        """Run a command on the head in a copy of a folder; the job's id."""
        name = f"segsearch-{search or 'errand'}-{uuid.uuid4().hex[:8]}"
        order = {
            "entrypoint": command,
            "submission_id": name,
            "runtime_env": {"working_dir": self._upload(pack(folder))},
            "metadata": {LABEL: search} if search else {},
        }
        self._try("submit_job", "/api/jobs/", method="POST", body=json.dumps(order).encode())
        return name

    def jobs(self, search: str) -> list[SubmittedJob]:
        """Jobs of a search, newest first."""
        found = [
            SubmittedJob(job["submission_id"], job["status"], (job["start_time"] or 0) / 1000)
            for job in self._ask("list_jobs", "/api/jobs/")
            if job["submission_id"] and (job["metadata"] or {}).get(LABEL) == search
        ]
        return sorted(found, key=lambda job: -job.began)

    def status(self, job: str) -> str:
        """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
        return str(self._ask("get_job_status", f"/api/jobs/{job}")["status"])

    def logs(self, job: str) -> str:
        """All that a job printed so far."""
        return str(self._ask("get_job_logs", f"/api/jobs/{job}/logs")["logs"])

    def answer(self, command: str, folder: Path, *, mark: str, timeout_s: float) -> Any:
        """Run a command on the head and read the JSON that it prints on one line after a mark.

        The line is all that is waited for: the end of the process, and Ray's notice of it, come about half a second later.

        Raises:
            NoAnswerError: It ended and printed none; the message is the last that it printed.
            PlaceError: It neither prints one nor ends in time.
        """
        job = self.submit(command, folder)
        end = time.monotonic() + timeout_s
        while True:
            status = self.status(job)  # before the log, which is whole once the job is over
            text = "" if status == "PENDING" else self.logs(job)
            for line in text.splitlines(keepends=True):
                if line.startswith(mark) and line.endswith("\n"):
                    with contextlib.suppress(ValueError):  # a line that ended with another's, or was cut off
                        return json.loads(line.removeprefix(mark))
            if status in OVER:
                raise NoAnswerError((text.strip().splitlines() or ["nothing was printed"])[-1])
            if time.monotonic() > end:
                raise PlaceError(
                    f"{self.address}: job {job} does not end within {timeout_s:.0f} s; look at its logs."
                )
            time.sleep(POLL_S)

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

    def _upload(self, package: bytes) -> str:
        """Give the cluster a package, unless it has it; what Ray calls it in a runtime environment."""
        name = f"_ray_pkg_{hashlib.blake2b(package, digest_size=16).hexdigest()}.zip"
        path = f"/api/packages/gcs/{name}"
        if self._try("upload_package", path, accepted=(200, 404))[0] == 404:
            self._try("upload_package", path, method="PUT", body=package)
        return f"gcs://{name}"

    def _ask(self, what: str, path: str, **how: Any) -> Any:
        """A request whose answer is JSON.

        Raises:
            PlaceError: No answer, or none that Ray gives.
        """
        text = self._try(what, path, **how)[1]
        try:
            return json.loads(text)
        except ValueError:
            raise PlaceError(
                f"{self.address}: {what} failed (the answer is not JSON); is that Ray's dashboard?"
            ) from None

    def _try(
        self,
        what: str,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        accepted: tuple[int, ...] = (200,),
        timeout_s: float = WORK_S,
    ) -> tuple[int, bytes]:
        """A request with the token: status and text.

        Raises:
            PlaceError: No answer, or another status.
        """
        try:
            status, text = self._send(path, auth_token(), method=method, body=body, timeout_s=timeout_s)
            fault = "" if status in accepted else _fault(status, text)
        except (OSError, http.client.HTTPException) as error:
            fault = str(getattr(error, "reason", error)) or type(error).__name__
        if fault:
            raise PlaceError(f"{self.address}: {what} failed ({fault}); does the cluster still run?")
        return status, text

    def _status(self, path: str, *, token: str | None) -> int:
        try:
            return self._send(path, token, timeout_s=ANSWER_S)[0]
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise PlaceError(
                f"{self.address}: nothing answers there ({reason}); it must be Ray's dashboard, usually port 8265."
            ) from None

    def _send(
        self,
        path: str,
        token: str | None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        timeout_s: float,
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:  # else urllib calls it a form
            headers["Content-Type"] = "application/json" if method == "POST" else "application/zip"
        request = urllib.request.Request(self.address + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


def auth_token() -> str | None:
    """The user's token, where Ray looks for it: two variables, then a file in the home folder.

    Raises:
        PlaceError: What is there is no token.
    """
    token = os.environ.get("RAY_AUTH_TOKEN")
    if not token:
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
        try:
            token = path.read_text(errors="replace")
        except OSError:
            return None
    token = token.strip()
    if not all("!" <= letter <= "~" for letter in token):  # an error of the HTTP library would show it
        raise PlaceError(
            "the token holds a blank, a line break or a letter outside of ASCII; RAY_AUTH_TOKEN, or the file that "
            "RAY_AUTH_TOKEN_PATH names (else ~/.ray/auth_token), must hold the cluster's token alone."
        )
    return token or None


def _fault(status: int, text: bytes) -> str:
    """A status and the one line of an answer that says why: the last of a traceback, nothing of a page."""
    lines = text.decode(errors="replace").strip().splitlines() or [""]
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return f"{status}: {line[:200]}" if line and not line.startswith("<") else str(status)
