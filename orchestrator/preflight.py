"""Everything that would keep a job from running on a cluster, found before it is submitted, all at once."""

import importlib.metadata
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from orchestrator.cluster import Cluster, NoAnswerError
from orchestrator.errors import PlaceError
from orchestrator.job import Job
from orchestrator.probe import MARK
from orchestrator.slots import Node, ResourceError, divide

PROBE_S = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Literal["good", "warning", "error"]
    message: str


@dataclass(slots=True)
class Preflight:
    """What was found.

    Attributes:
        findings: In the order in which they were looked at.
        facts: What the head said.
    """

    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, what: str, error: str, good: str, *, warning: bool = False) -> None:
        """Note what was found; ``error`` is empty where it is good."""
        verdict: Literal["good", "warning", "error"] = (
            "good" if not error else "warning" if warning else "error"
        )
        self.findings.append(Finding(what, verdict, error or good))

    def require(self) -> None:
        """Go on only where no error was found.

        Raises:
            PlaceError: With all errors.
        """
        errors = [found.message for found in self.findings if found.verdict == "error"]
        if errors:
            raise PlaceError("\n  - ".join(["nothing was submitted:", *errors]))

    @property
    def warnings(self) -> list[str]:
        """What a user should know although the job can run."""
        return [found.message for found in self.findings if found.verdict == "warning"]


def look(
    cluster: Cluster,
    parcel: Path,
    *,
    job: Job | None = None,
    search: str | None = None,
    storage: str | None = None,
    allow_open: bool = False,
) -> Preflight:
    """Look at a cluster, and at what a job needs there.

    Args:
        cluster: Where the job shall run.
        parcel: The code that would travel.
        job: What shall run, with absolute places; None looks at the cluster alone.
        search: Without a job: a search that shall be resumed there.
        storage: Without a job: an absolute path or ``s3://`` location.
        allow_open: Accept a cluster that asks for no token.

    Raises:
        PlaceError: The cluster cannot be entered.
    """
    found = Preflight()
    version = cluster.enter(allow_open=allow_open)
    found.add("cluster", "", f"{cluster.address}, Ray {version}")
    requirements = _requirements()
    ours = next(Requirement(text) for text in requirements if text.startswith("ray"))
    fault = f"Ray {version} runs there, this version of segsearch needs {ours.specifier}; use the images of infra/."
    found.add("Ray", "" if ours.specifier.contains(version, prereleases=True) else fault, version)
    nodes = cluster.nodes()
    able = sum(node.cpus > 0 for node in nodes)
    asked: dict[str, Any] = {
        "requirements": requirements,
        "nodes": able,
        "search": search,
        "storage": storage,
    }
    if job is not None:
        found.add("resources", *resources(nodes, job))
        asked |= {"search": job.name, "storage": job.storage, "dataset": job.dataset, "raw": job.raw}
        asked["warm_start"] = job.search.warm_start
    command = f"python3 -m orchestrator.probe {shlex.quote(json.dumps(asked))}"
    try:
        found.facts = cluster.answer(command, parcel, mark=MARK, timeout_s=PROBE_S)
    except NoAnswerError as error:
        found.add(
            "head", f"python3 on the head cannot run segsearch ({error}); use the images of infra/.", ""
        )
    else:
        judge(found, found.facts, job)
    return found


def resources(nodes: tuple[Node, ...], job: Job) -> tuple[str, str]:
    """What is wrong with a job's resources on these nodes, and what trials would run in."""
    try:
        slots = divide(nodes, job.resources)
    except ResourceError as error:
        return f"resources.{error.key}: {error}", ""
    return "", f"{slots.count} slots of {slots.threads} core(s){slots.card_text} on {slots.nodes} node(s)"


def judge(found: Preflight, facts: dict[str, Any], job: Job | None) -> None:
    """Turn what the head said into findings."""
    where = f"python3 on the head is {facts['executable']}, {facts['python']}"
    old = tuple(map(int, facts["python"].split(".")[:2])) < (3, 11)
    found.add("Python", f"{where}; segsearch needs 3.11 or newer." if old else "", facts["python"])
    missing = facts["missing"]
    found.add(
        "packages",
        f"{where}, and lacks {'; '.join(missing)}. Use the images of infra/, or install requirements.lock there."
        if missing
        else "",
        "all of requirements.lock that segsearch imports",
    )
    if "journal" not in facts:
        return
    journal = facts["journal"]
    found.add("journal", journal.get("error", ""), journal.get("database", ""))
    if "storage" in facts:
        found.add("storage", facts["storage"] and f"storage: {facts['storage']}", "can be written")
    if "dataset" in facts:
        error = facts["dataset"].get("error")
        found.add("data set", f"dataset: {error}" if error else "", facts["dataset"].get("digest", "")[:12])
    if facts.get("raw") is False and job is not None:
        message = f"raw: {job.raw} is not on the head; exports are proved from the stored cases instead."
        found.add("raw files", message, "", warning=True)
    mlflow = facts["mlflow"]
    found.add(
        "MLflow", mlflow and f"{mlflow}; the search runs, its runs are not shown.", "answers", warning=True
    )


def _requirements() -> list[str]:
    """What the code imports at run time, as pip would ask for it."""
    texts = importlib.metadata.requires("segsearch") or []
    return [text for text in texts if "extra ==" not in text]
