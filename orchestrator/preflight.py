"""Everything that would keep a job from running on a cluster, found before it is submitted, all at once."""

import importlib.metadata
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from orchestrator.cluster import Cluster
from orchestrator.errors import PlaceError
from orchestrator.job import Job
from orchestrator.parcel import make_parcel
from orchestrator.places import absolute
from orchestrator.probe import MARK
from orchestrator.slots import ResourceError, Slots, divide

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
        slots: What trials would run in.
        facts: What the head said.
    """

    findings: list[Finding] = field(default_factory=list)
    slots: Slots | None = None
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
    *,
    job: Job | None = None,
    search: str | None = None,
    storage: str | None = None,
    modules: Mapping[str, Path] | None = None,
    allow_open: bool = False,
) -> Preflight:
    """Look at a cluster, and at what a job needs there.

    Args:
        cluster: Where the job shall run.
        job: What shall run; None looks at the cluster alone.
        search: A search that shall be resumed there.
        storage: Storage of the search; the job's by default.
        modules: The user's own modules that would travel.
        allow_open: Accept a cluster that asks for no token.

    Raises:
        PlaceError: The cluster cannot be entered.
    """
    found = Preflight()
    version = cluster.enter(allow_open=allow_open)
    found.add("cluster", "", f"{cluster.address}, Ray {version}")
    wanted = _requirements()
    ours = next(Requirement(text) for text in wanted if text.startswith("ray"))
    fault = f"Ray {version} runs there, this version of segsearch needs {ours.specifier}; use the images of infra/."
    found.add("Ray", "" if ours.specifier.contains(version, prereleases=True) else fault, version)
    nodes = cluster.nodes()
    if job is not None:
        try:
            found.slots = divide(nodes, job.resources)
            found.add("resources", "", _shown(found.slots))
        except ResourceError as error:
            found.add("resources", f"resources.{error.key}: {error}", "")
    able = sum(node.cpus > 0 for node in nodes)
    _ask_head(cluster, found, job, search, storage, modules or {}, wanted, able)
    return found


def _ask_head(
    cluster: Cluster,
    found: Preflight,
    job: Job | None,
    search: str | None,
    storage: str | None,
    modules: Mapping[str, Path],
    requirements: list[str],
    nodes: int,
) -> None:
    asked: dict[str, Any] = {"requirements": requirements, "nodes": nodes}
    asked |= {"search": search, "storage": absolute(storage) if storage else None}
    if job is not None:
        asked |= {"search": job.name, "storage": absolute(job.storage), "dataset": absolute(job.dataset)}
        asked["raw"] = None if job.raw is None else absolute(job.raw)
    with make_parcel(modules) as folder:
        command = f"python3 -m orchestrator.probe {shlex.quote(json.dumps(asked))}"
        text = cluster.wait(cluster.submit(command, folder), timeout_s=PROBE_S)
    line = next((line for line in text.splitlines() if line.startswith(MARK)), None)
    if line is None:
        last = (text.strip().splitlines() or ["nothing was printed"])[-1]
        found.add("head", f"python3 on the head cannot run segsearch ({last}); use the images of infra/.", "")
        return
    facts = found.facts = json.loads(line.removeprefix(MARK))
    judge(found, facts, job)


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


def _shown(slots: Slots) -> str:
    card = " and a GPU" if slots.device == "cuda" else ""
    return f"{slots.count} slots of {slots.threads} core(s){card} on {slots.nodes} node(s)"
