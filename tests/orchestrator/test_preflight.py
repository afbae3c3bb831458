"""What a look at a cluster says about facts that no test cluster has, and about addresses."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import probe, remote
from orchestrator.cluster import Cluster, auth_token
from orchestrator.errors import PlaceError
from orchestrator.preflight import Preflight, judge
from workers.errors import StoreError

GOOD: dict[str, Any] = {
    "python": "3.11.7", "executable": "/usr/bin/python3", "missing": [], "journal": {"database": "postgresql"},
    "mlflow": "", "tracked": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            {**GOOD, "python": "3.9.2"},
            "python3 on the head is /usr/bin/python3, 3.9.2; segsearch needs 3.11 or newer",
        ),
        (
            {**GOOD, "missing": ["torch: not installed, needed >=2.14"]},
            "lacks torch: not installed, needed >=2.14",
        ),
        ({**GOOD, "journal": {"error": "journal: the database has schema 99"}}, "the database has schema 99"),
        ({**GOOD, "storage": "bucket 'x' not found"}, "storage: bucket 'x' not found"),
        ({**GOOD, "dataset": {"error": "s3://x: no data set there"}}, "dataset: s3://x: no data set there"),
    ],
)
def test_an_error_keeps_a_job_from_being_submitted(facts: dict[str, Any], sentence: str) -> None:
    found = Preflight()
    judge(found, facts, None)
    with pytest.raises(PlaceError, match="nothing was submitted:") as caught:
        found.require()
    assert sentence in str(caught.value)


def test_mlflow_that_does_not_answer_is_a_warning() -> None:
    found = Preflight()
    judge(found, {**GOOD, "mlflow": "nothing answers at http://m"}, None)
    found.require()
    assert found.warnings == ["nothing answers at http://m; the search runs, its runs are not shown."]


def test_requirements_are_compared_with_what_is_installed() -> None:
    missing = probe._missing(["numpy>=2", "numpy<1", "no-such-package>=1", "ray[tune]>=2"])
    assert missing[0].startswith("numpy: ") and missing[0].endswith(", needed <1")
    assert missing[1:] == ["no-such-package: not installed, needed >=1"]


def test_a_warm_start_from_a_search_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGSEARCH_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    asked = {
        "requirements": [],
        "nodes": 1,
        "search": "new",
        "storage": str(tmp_path),
        "warm_start": ["gone"],
    }
    found = Preflight()
    judge(found, {**GOOD, **probe.main(asked)}, None)
    with pytest.raises(PlaceError, match=r"search.warm_start: the journal there has no search gone"):
        found.require()


class Answers(http.server.BaseHTTPRequestHandler):
    """Ray's dashboard as far as entering goes: asks for the token ``right``, unless it is open."""

    open = missing = False
    jobs = (404, "")  # what the job server says

    def do_GET(self) -> None:  # the name is the base class's
        if self.path.startswith("/api/jobs/"):
            self.send_response(self.jobs[0])
            self.end_headers()
            self.wfile.write(self.jobs[1].encode())
            return
        given = self.headers.get("Authorization")
        code = 200 if self.open or given == "Bearer right" else 403 if given else 401
        code = 404 if self.missing else code
        self.send_response(code)
        self.end_headers()
        self.wfile.write(b'{"ray_version": "2.60.0"}')

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_who_may_enter(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    cluster = Cluster(address)
    with pytest.raises(PlaceError, match="asks for a token; put it into a file"):
        cluster.enter(allow_open=False)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("wrong\n")
    assert auth_token() == "wrong"
    with pytest.raises(PlaceError, match="refused the token"):
        cluster.enter(allow_open=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    assert cluster.enter(allow_open=False) == "2.60.0"


def test_an_open_cluster_is_refused_unless_allowed(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "open", True)
    with pytest.raises(PlaceError, match="anyone who reaches it may run code there"):
        Cluster(address).enter(allow_open=False)
    assert Cluster(address).enter(allow_open=True) == "2.60.0"


@pytest.mark.parametrize(
    "address", ["ftp://x", "http://", "http://a:b@host:8265", "http://host:8265/?token=x"]
)
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(PlaceError, match="address"):
        Cluster(address)


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("s3://key:secret@bucket/x", "holds credentials, a host or a port"),
        ("s3://10.0.0.1/x", "is no bucket name"),
        ("s3://segsearch/x?endpoint_override=evil", "holds options"),
        ("s3://segsearch/../x", r"\.\."),
        ("ftp://segsearch/x", "scheme ftp"),
    ],
)
@pytest.mark.parametrize("place", ["dataset", "storage"])
def test_a_location_that_is_none_is_refused_before_anyone_is_asked(
    tmp_path: Path, place: str, location: str, sentence: str
) -> None:
    (tmp_path / "job.yaml").write_text("name: x\ndataset: d\ndata: {size: [8, 8]}\n")
    with pytest.raises(StoreError, match=sentence) as caught:
        remote.submit(tmp_path / "job.yaml", "http://no-such-host:8265", **{place: location})
    assert "secret" not in str(caught.value)


def test_a_server_that_is_no_dashboard_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "missing", True)
    with pytest.raises(PlaceError, match=r"what answers there \(404\) is not Ray's dashboard"):
        Cluster(address).enter(allow_open=False)


@pytest.mark.parametrize("token", ["canary secret", "canary\nsecret", "canary\u20acsecret"])
def test_what_is_no_token_is_refused_and_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with pytest.raises(PlaceError, match="the token holds a blank, a line break") as caught:
        Cluster(address).enter(allow_open=False)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "text", "fault"),
    [
        (404, "Job x does not exist", r"\(404: Job x does not exist\)"),
        (
            500,
            "Traceback (most recent call last):\n  File\nValueError: Package size (9 MiB) exceeds",
            r"\(500: ValueError: Package size \(9 MiB\) exceeds\)",
        ),
        (502, "<html>\n<p>Bad gateway</p>\n</html>", r"\(502\)"),
        (200, "<html>", "the answer is not JSON"),
    ],
)
def test_an_error_of_the_job_server_is_one_sentence(
    address: str, monkeypatch: pytest.MonkeyPatch, status: int, text: str, fault: str
) -> None:
    monkeypatch.setattr(Answers, "jobs", (status, text))
    with pytest.raises(PlaceError, match=f"get_job_status failed .*{fault}") as caught:
        Cluster(address).status("x")
    assert "\n" not in str(caught.value)


def test_a_cluster_that_is_gone_is_said_so() -> None:
    with pytest.raises(PlaceError, match=r"list_jobs failed \(.*refused.*\); does the cluster still run"):
        Cluster("http://127.0.0.1:1").jobs("x")
