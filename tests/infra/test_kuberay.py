"""Manifests keep Kubernetes' schemas, KubeRay's rules and those of this project; each is shown to find what it is for."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.infra import ray_objects
from tests.infra.broken import set_at
from tests.infra.compose_file import COMPOSE, INFRA, load_compose

FOLDER = INFRA / "kuberay"
Object = dict[str, Any]
Change = Callable[[Object], None]


def read(name: str) -> list[Object]:
    """All objects of a manifest, without YAML's sharing, so that a change in one place is one change."""
    loaded = yaml.safe_load_all((FOLDER / name).read_text())
    return [json.loads(json.dumps(document)) for document in loaded]


RAY = {"RayCluster": read("raycluster.yaml")[0], "RayJob": read("rayjob.yaml")[0]}
CORE = [*read("namespace.yaml"), *read("network.yaml")]


# The rules of this project for pods: each yields a sentence for each thing that is wrong.


def hardening(template: Object) -> Iterator[str]:
    spec = template["spec"]
    context = spec.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    if (
        spec.get("hostNetwork")
        or spec.get("hostPID")
        or any("hostPath" in v for v in spec.get("volumes", ()))
    ):
        yield "has a part of the node"
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}) != {
            "drop": ["ALL"]
        }:
            yield f"{container['name']}: may gain privileges"
        resources = container.get("resources", {})
        if not resources.get("limits") or resources["limits"] != resources.get("requests"):
            yield f"{container['name']}: requests are not limits"
        image = container["image"]
        if ":" not in image or image.endswith(":latest"):
            yield f"{container['name']}: image {image!r} names no version"
        for variable in container.get("env", ()):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield f"{container['name']}: {variable['name']} is a secret in the environment; mount it"


def service_account(template: Object) -> Iterator[str]:
    if template["spec"].get("automountServiceAccountToken") is not False:
        yield "gets a token of the API server"


TEMPLATES = [(kind, where) for kind in RAY for where, _ in ray_objects.templates(RAY[kind])]


def template(kind: str, where: str) -> Object:
    found: Object = copy.deepcopy(dict(ray_objects.templates(RAY[kind]))[where])
    return found


@pytest.mark.parametrize(("kind", "where"), TEMPLATES)
def test_pods_are_hardened(kind: str, where: str) -> None:
    assert list(hardening(template(kind, where))) == []


@pytest.mark.parametrize(("kind", "where"), [each for each in TEMPLATES if each[1] != "head"])
def test_only_the_head_talks_to_the_api_server(kind: str, where: str) -> None:
    assert list(service_account(template(kind, where))) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (set_at("spec/securityContext/runAsNonRoot", False), "may run as root"),
        (set_at("spec/securityContext/runAsUser", 0), "may run as root"),
        (set_at("spec/securityContext/seccompProfile", None), "no seccomp"),
        (set_at("spec/hostNetwork", True), "part of the node"),
        (set_at("spec/volumes", [{"name": "x", "hostPath": {"path": "/"}}]), "part of the node"),
        (set_at("spec/containers/0/securityContext", None), "ray-worker: may gain privileges"),
        (
            set_at("spec/initContainers/0/securityContext/capabilities/add", ["NET_RAW"]),
            "passwords: may gain",
        ),
        (set_at("spec/containers/0/resources/limits", None), "requests are not limits"),
        (set_at("spec/containers/0/resources/requests/cpu", "1"), "requests are not limits"),
        (set_at("spec/containers/0/image", "segsearch-ray"), "names no version"),
        (
            set_at("spec/containers/0/env/0", {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {}}}),
            "PGPASSWORD is a secret",
        ),
    ],
)
def test_hardening_finds_a_broken_copy(change: Change, finding: str) -> None:
    broken = template("RayCluster", "gpu")
    change(broken)
    assert any(finding in problem for problem in hardening(broken)), list(hardening(broken))


def test_a_worker_with_a_token_is_found() -> None:
    broken = template("RayCluster", "cpu")
    del broken["spec"]["automountServiceAccountToken"]
    assert list(service_account(broken))


# KubeRay's objects


@pytest.mark.parametrize("kind", sorted(RAY))
def test_kuberay_accepts_the_object(kind: str) -> None:
    assert list(ray_objects.problems(RAY[kind])) == []


CLUSTER_MUTATIONS = [
    (set_at("metadata/name", "a" * 54), "at most 53"),
    (set_at("metadata/name", "1st"), "beginning with a letter"),
    (set_at("metadata/name", "Cluster"), "DNS label"),
    (set_at("apiVersion", "ray.io/v1alpha1"), "apiVersion"),
    (set_at("spec/headGroupSpecs", {}), "headGroupSpecs"),
    (set_at("spec/headGroupSpec", None), "'headGroupSpec' is a required property"),
    (set_at("spec/headGroupSpec/rayStartParams/num-cpus", 0), "0 is not of type 'string'"),
    (set_at("spec/authOptions/mode", "tokens"), "'tokens' is not one of"),
    (set_at("spec/rayVersion", "2.51.0"), "needs Ray 2.52"),
    (set_at("spec/workerGroupSpecs/0/minReplicas", 9), "minReplicas <= replicas"),
    (set_at("spec/workerGroupSpecs/0/replicas", 9), "minReplicas <= replicas"),
    (set_at("spec/workerGroupSpecs/0/maxReplicas", None), "'maxReplicas' is a required property"),
    (set_at("spec/workerGroupSpecs/0/minReplicas", -1), "minimum of 0"),
    (set_at("spec/workerGroupSpecs/0/groupName", "gpu"), "two worker groups"),
    (set_at("spec/workerGroupSpecs/0/groupName", "CPU"), "not a DNS label"),
    (set_at("spec/workerGroupSpecs/0/template/spec/restartPolicy", "Always"), "restartPolicy"),
    (set_at("spec/headGroupSpec/template/spec/restartPolicy", "OnFailure"), "restartPolicy"),
    (set_at("spec/enableInTreeAutoscaling", False), "autoscalerOptions without"),
    (set_at("spec/autoscalerOptions/version", "v3"), "'v3' is not one of"),
    (set_at("spec/headGroupSpec/template/spec/containers/0/imagePullPolcy", "Always"), "imagePullPolcy"),
    (
        set_at("spec/headGroupSpec/template/spec/containers/0/resources/limits/cpu", [2]),
        "resources.limits.cpu",
    ),
    (set_at("spec/headGroupSpec/template/spec/containers", None), "'containers' is a required property"),
]
JOB_MUTATIONS = [
    (set_at("metadata/name", "a" * 48), "at most 47"),
    (set_at("spec/backoffLimits", 10), "backoffLimits"),
    (set_at("spec/backoffLimit", -1), "below 0"),
    (
        set_at("spec/clusterSelector", {"ray.io/cluster": "segsearch"}),
        "clusterSelector: takes no backoffLimit",
    ),
    (set_at("spec/submissionMode", "InteractiveMode"), "InteractiveMode takes no backoffLimit"),
    (set_at("spec/submissionMode", "SidecarMode"), "SidecarMode takes no"),
    (set_at("spec/submissionMode", "Batch"), "'Batch' is not one of"),
    (set_at("spec/shutdownAfterJobFinishes", False), "ttlSecondsAfterFinished needs"),
    (set_at("spec/ttlSecondsAfterFinished", -1), "ttlSecondsAfterFinished: below 0"),
    (set_at("spec/preRunningDeadlineSeconds", 0), "minimum of 1"),
    (set_at("spec/activeDeadlineSeconds", 0), "not positive"),
    (set_at("spec/entrypoint", ""), "no entrypoint"),
    (set_at("spec/rayClusterSpec", None), "neither rayClusterSpec nor clusterSelector"),
    (set_at("spec/submitterPodTemplate/spec/containers/0/name", 1), "submitter"),
    (set_at("spec/rayClusterSpec/workerGroupSpecs/1/maxReplicas", -1), "minimum of 0"),
]


@pytest.mark.parametrize(
    ("kind", "change", "finding"),
    [("RayCluster", *each) for each in CLUSTER_MUTATIONS] + [("RayJob", *each) for each in JOB_MUTATIONS],
)
def test_kuberays_rules_find_a_broken_copy(kind: str, change: Change, finding: str) -> None:
    broken = copy.deepcopy(RAY[kind])
    change(broken)
    found = list(ray_objects.problems(broken))
    assert any(finding in problem for problem in found), found


def test_suspending_needs_a_cluster_that_goes_with_its_job() -> None:
    broken = copy.deepcopy(RAY["RayJob"])
    broken["spec"] |= {"suspend": True, "shutdownAfterJobFinishes": False, "ttlSecondsAfterFinished": 0}
    assert "suspend needs shutdownAfterJobFinishes" in list(ray_objects.problems(broken))


# Core objects


@pytest.mark.parametrize("document", CORE, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_accepts_the_object(document: Object) -> None:
    kubernetes_validate.validate(document, ray_objects.KUBERNETES, strict=True)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ray", set_at("spec/egres", [])),
        ("ray", set_at("spec/ingress/0/from", {"podSelector": {}})),
        ("segsearch", set_at("apiVersion", "v2")),
    ],
)
def test_kubernetes_schema_finds_a_broken_copy(name: str, change: Change) -> None:
    broken = copy.deepcopy(_core(name))
    change(broken)
    with pytest.raises((kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)):
        kubernetes_validate.validate(broken, ray_objects.KUBERNETES, strict=True)


def test_the_namespace_enforces_the_restricted_standard() -> None:
    assert _core("segsearch")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_pod_is_under_the_policies() -> None:
    assert _core("default-deny")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    selected = _core("ray")["spec"]["podSelector"]["matchLabels"]
    for kind, where in TEMPLATES:
        assert selected.items() <= template(kind, where)["metadata"]["labels"].items(), (kind, where)


def test_no_pod_reaches_the_metadata_of_its_node() -> None:
    blocks = [
        peer["ipBlock"]
        for document in CORE
        if document["kind"] == "NetworkPolicy"
        for rule in document["spec"].get("egress", ())
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert blocks
    assert all("169.254.169.254/32" in block["except"] for block in blocks)


# Manifests and compose.yaml agree


def test_pods_find_the_same_services_as_containers() -> None:
    services = load_compose(COMPOSE, {"SEGSEARCH_UID": "1", "SEGSEARCH_GID": "1"})["services"]
    wanted = services["ray-head"]["environment"]
    data = _core("segsearch-services")["data"]
    assert data.items() <= wanted.items()
    container = template("RayCluster", "head")["spec"]["containers"][0]
    names = {each["name"] for each in container["env"]} | data.keys()
    by_kuberay, in_the_image = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"}, {"USER"}
    assert wanted.keys() - names == by_kuberay | in_the_image


def test_job_and_cluster_have_the_same_nodes() -> None:
    """The two files repeat a cluster; they may differ by the image and by the job's own file only."""
    cluster = json.dumps(RAY["RayCluster"]["spec"])
    job = copy.deepcopy(RAY["RayJob"]["spec"]["rayClusterSpec"])
    head = job["headGroupSpec"]["template"]["spec"]
    head["volumes"] = [each for each in head["volumes"] if each["name"] != "job"]
    mounts = head["containers"][0]["volumeMounts"]
    head["containers"][0]["volumeMounts"] = [each for each in mounts if each["name"] != "job"]
    text = json.dumps(job)
    for with_code, without in (("ray-code:0.1.0-cuda", "ray:cuda"), ("ray-code:0.1.0", "ray:cpu")):
        text = text.replace(with_code, without)
    assert json.loads(text) == json.loads(cluster)


def test_no_trial_runs_on_the_head() -> None:
    for document in RAY.values():
        spec = document["spec"].get("rayClusterSpec", document["spec"])
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        assert spec["authOptions"]["mode"] == "token"


def test_the_folder_holds_what_is_tested() -> None:
    names = {path.name for path in Path(FOLDER).iterdir()}
    assert names == {"namespace.yaml", "network.yaml", "raycluster.yaml", "rayjob.yaml"}


def _core(name: str) -> Object:
    """The object of this name; of several, the first."""
    return next(document for document in CORE if document["metadata"]["name"] == name)
