"""What KubeRay 1.7 accepts as a RayCluster or RayJob: a JSON Schema of the fields that are used here, and the operator's rules.

The operator's own definitions are over a megabyte and are not copied. A field that is missing here is refused, so that a
misspelt one is; adding a field to a manifest means adding it here, from the reference of the API (ray.io/v1).
"""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate

KUBERNETES = "1.37.0"
LIMITS = {"RayCluster": 53, "RayJob": 47}
MAX_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
Object = dict[str, Any]

_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}
_TEMPLATE = {"type": "object", "required": ["spec"]}


def _fields(required: tuple[str, ...] = (), **properties: object) -> Object:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


_CLUSTER = _fields(
    ("headGroupSpec", "rayVersion"),
    rayVersion={"type": "string"},
    authOptions=_fields(mode={"enum": ["disabled", "token"]}, secretName={"type": "string"}),
    enableInTreeAutoscaling={"type": "boolean"},
    suspend={"type": "boolean"},
    autoscalerOptions=_fields(
        version={"enum": ["v1", "v2"]},
        idleTimeoutSeconds=_COUNT,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        securityContext={"type": "object"},
        resources={"type": "object"},
    ),
    headGroupSpec=_fields(("template", "rayStartParams"), rayStartParams=_STRINGS, template=_TEMPLATE),
    workerGroupSpecs={
        "type": "array",
        "items": _fields(
            ("groupName", "template", "rayStartParams", "minReplicas", "maxReplicas"),
            groupName={"type": "string"},
            replicas=_COUNT,
            minReplicas=_COUNT,
            maxReplicas=_COUNT,
            idleTimeoutSeconds=_COUNT,
            priority={"type": "integer"},
            rayStartParams=_STRINGS,
            template=_TEMPLATE,
        ),
    },
)
_JOB = _fields(
    (),
    entrypoint={"type": "string"},
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    backoffLimit={"type": "integer"},
    activeDeadlineSeconds={"type": "integer"},
    preRunningDeadlineSeconds={"type": "integer", "minimum": 1},
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished={"type": "integer"},
    suspend={"type": "boolean"},
    clusterSelector=_STRINGS,
    submitterConfig=_fields(backoffLimit=_COUNT),
    submitterPodTemplate=_TEMPLATE,
    rayClusterSpec=_CLUSTER,
)
_METADATA = _fields(
    ("name",), name={"type": "string"}, namespace={"type": "string"}, labels=_STRINGS, annotations=_STRINGS
)
SCHEMAS = {
    kind: _fields(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=_METADATA,
        spec=spec,
    )
    for kind, spec in (("RayCluster", _CLUSTER), ("RayJob", _JOB))
}


def problems(document: Object) -> Iterator[str]:
    """What the API server or the operator would refuse, or what would not do what it says; a sentence each."""
    kind = document["kind"]
    errors = list(jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(document))
    yield from (f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}" for error in errors)
    name = document["metadata"]["name"]
    if len(name) > LIMITS[kind] or not MAX_NAME.fullmatch(name):
        yield f"name {name!r}: a DNS label of at most {LIMITS[kind]} characters, beginning with a letter"
    if errors:
        return
    spec = document["spec"]
    if kind == "RayJob":
        yield from _job_problems(spec)
    cluster = spec if kind == "RayCluster" else spec.get("rayClusterSpec")
    if cluster is not None:
        yield from _cluster_problems(cluster)
    for where, template in templates(document):
        yield from (f"{where}: {problem}" for problem in _pod_problems(json.dumps(template)))


def templates(document: Object) -> Iterator[tuple[str, Object]]:
    """Every pod template of an object, with a name for messages."""
    spec = document["spec"]
    if "submitterPodTemplate" in spec:
        yield "submitter", spec["submitterPodTemplate"]
    cluster = spec if document["kind"] == "RayCluster" else spec.get("rayClusterSpec", {})
    if "headGroupSpec" in cluster:
        yield "head", cluster["headGroupSpec"]["template"]
    for group in cluster.get("workerGroupSpecs", ()):
        yield group["groupName"], group["template"]


def _job_problems(spec: Object) -> Iterator[str]:
    selected = bool(spec.get("clusterSelector"))
    mode = spec.get("submissionMode", "K8sJobMode")
    backoff, shutdown = spec.get("backoffLimit", 0), spec.get("shutdownAfterJobFinishes", False)
    if not selected and "rayClusterSpec" not in spec:
        yield "neither rayClusterSpec nor clusterSelector"
    if selected and (backoff or spec.get("suspend")):
        yield "clusterSelector: takes no backoffLimit, as each retry makes a cluster, and no suspend"
    if backoff < 0:
        yield "backoffLimit: below 0"
    if mode == "InteractiveMode" and backoff:
        yield "InteractiveMode takes no backoffLimit"
    if mode == "SidecarMode" and (selected or spec.keys() & {"submitterPodTemplate", "submitterConfig"}):
        yield "SidecarMode takes no clusterSelector, submitterPodTemplate or submitterConfig"
    if spec.get("suspend") and not shutdown:
        yield "suspend needs shutdownAfterJobFinishes"
    if spec.get("ttlSecondsAfterFinished", 0) < 0:
        yield "ttlSecondsAfterFinished: below 0"
    if spec.get("ttlSecondsAfterFinished") and not shutdown:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
    if spec.get("activeDeadlineSeconds", 1) <= 0:
        yield "activeDeadlineSeconds: not positive"
    if mode != "InteractiveMode" and not spec.get("entrypoint"):
        yield "no entrypoint"


def _cluster_problems(spec: Object) -> Iterator[str]:
    groups = spec.get("workerGroupSpecs", [])
    names = [group["groupName"] for group in groups]
    if len(set(names)) < len(names):
        yield "two worker groups of one name"
    for group in groups:
        least, most = group["minReplicas"], group["maxReplicas"]
        if not least <= group.get("replicas", least) <= most:
            yield f"{group['groupName']}: not minReplicas <= replicas <= maxReplicas"
        if len(group["groupName"]) > 63 or not MAX_NAME.fullmatch(group["groupName"]):
            yield f"{group['groupName']}: not a DNS label"
    token = spec.get("authOptions", {}).get("mode") == "token"
    if token and tuple(int(part) for part in spec["rayVersion"].split(".")) < (2, 52, 0):
        yield "authOptions.mode token needs Ray 2.52"
    if spec.get("enableInTreeAutoscaling"):
        pods = [spec["headGroupSpec"]["template"], *(group["template"] for group in groups)]
        if any(pod["spec"].get("restartPolicy", "Never") != "Never" for pod in pods):
            yield "restartPolicy: Never, or the autoscaler waits for a pod that comes back as another node"
    elif "autoscalerOptions" in spec:
        yield "autoscalerOptions without enableInTreeAutoscaling"


@functools.cache  # reading Kubernetes' schemas takes longer than all else, and most templates come again unchanged
def _pod_problems(template_json: str) -> tuple[str, ...]:
    template = json.loads(template_json)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", **template.get("metadata", {})},
        "spec": template["spec"],
    }
    try:
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return (f"{'.'.join(str(part) for part in error.path)}: {error.message}",)
    return ()
