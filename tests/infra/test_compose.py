"""compose.yaml keeps the specification and the rules of this project; each rule is shown to find what it is for."""

import copy
import json
import re
import runpy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from compose_spec import PyCompose

from tests.infra.broken import set_at
from tests.infra.compose_file import COMPOSE, GPU_OVERRIDE, INFRA, load_compose, strings, variables

ENVIRONMENT = {"SEGSEARCH_UID": "1000", "SEGSEARCH_GID": "1000"}
ONE_SHOT = {"bootstrap"}
SECRET_WORDS = re.compile(r"(?i)(password|passwd|secret|token|api_?key|access_?key)")
KEEPS_SECRETS_ELSEWHERE = re.compile(r"(_FILE|_PATH)$|^PGPASSFILE$|^RAY_AUTH_MODE$")
WITH_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]*@")
TAG = re.compile(r":[A-Za-z0-9][A-Za-z0-9._-]*$")
Document = dict[str, Any]


@pytest.fixture
def document() -> Document:
    return load_compose(COMPOSE, ENVIRONMENT)


# The rules: each yields a sentence for each thing that is wrong.


def open_ports(document: Document) -> Iterator[str]:
    for name, service in document["services"].items():
        for port in service.get("ports", ()):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: port {port} is open to other machines"
        if service.get("network_mode") == "host":
            yield f"{name}: has the network of the host"


def secrets_in_the_open(document: Document) -> Iterator[str]:
    for name, service in document["services"].items():
        for variable in service.get("environment", {}):
            if SECRET_WORDS.search(variable) and not KEEPS_SECRETS_ELSEWHERE.search(variable):
                yield f"{name}: {variable} holds a secret; mount a file"
        for text in strings(service):
            if WITH_PASSWORD.search(text):
                yield f"{name}: an address with a password"


def secrets_nobody_makes(document: Document) -> Iterator[str]:
    made = runpy.run_path(str(COMPOSE.parent / "make_secrets.py"))["build_secrets"]()
    for name, secret in document["secrets"].items():
        if secret.keys() != {"file"} or not re.fullmatch(r"\./secrets/[^/]+", secret["file"]):
            yield f"secret {name}: not a file of ./secrets"
        elif secret["file"].removeprefix("./secrets/") not in made:
            yield f"secret {name}: make_secrets.py does not write it"
    used = {
        item if isinstance(item, str) else item["source"]
        for service in document["services"].values()
        for item in service["secrets"]
    }
    yield from (f"secret {name}: no service uses it" for name in document["secrets"].keys() - used)
    yield from (f"secret {name}: is not declared" for name in used - document["secrets"].keys())


def unchecked_services(document: Document) -> Iterator[str]:
    for name, service in document["services"].items():
        check = service.get("healthcheck", {})
        if name in ONE_SHOT:
            if service["restart"] != "on-failure":
                yield f"{name}: ends by itself, and would be started again for ever"
        elif not check or check.get("disable") or not {"interval", "timeout", "retries"} <= check.keys():
            yield f"{name}: no health check"
        for other, condition in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            if condition["condition"] != wanted:
                yield f"{name}: waits for {other} with {condition['condition']}"


def loose_services(document: Document) -> Iterator[str]:
    for name, service in document["services"].items():
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add") or service.get("privileged"):
            yield f"{name}: keeps capabilities"
        if "no-new-privileges:true" not in service.get("security_opt", ()):
            yield f"{name}: may gain privileges"
        if not service.get("user") or service["user"].split(":")[0] in ("0", "root"):
            yield f"{name}: runs as root"
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        if "mem_limit" not in service and "memory" not in limits:
            yield f"{name}: no memory limit"
        if "docker.sock" in str(service.get("volumes", "")):
            yield f"{name}: has the engine's socket"


def unpinned_images(document: Document) -> Iterator[str]:
    for name, service in document["services"].items():
        image = service.get("image", "")
        if not TAG.search(image) or image.endswith(":latest"):
            yield f"{name}: image {image!r} names no version"


RULES: tuple[Callable[[Document], Iterator[str]], ...] = (
    open_ports,
    secrets_in_the_open,
    secrets_nobody_makes,
    unchecked_services,
    loose_services,
    unpinned_images,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_file_keeps_the_rule(rule: Callable[[Document], Iterator[str]], document: Document) -> None:
    assert list(rule(document)) == []


@pytest.mark.parametrize(
    ("rule", "change", "finding"),
    [
        (open_ports, set_at("services/mlflow/ports", ["5000:5000"]), "5000:5000 is open"),
        (open_ports, set_at("services/mlflow/ports", ["0.0.0.0:5000:5000"]), "is open"),
        (open_ports, set_at("services/ray-head/network_mode", "host"), "network of the host"),
        (
            secrets_in_the_open,
            set_at("services/postgres/environment/POSTGRES_PASSWORD", "x"),
            "POSTGRES_PASSWORD holds",
        ),
        (
            secrets_in_the_open,
            set_at("services/ray-head/environment/SEGSEARCH_JOURNAL", "postgresql://u:p@postgres/x"),
            "address with a password",
        ),
        (
            secrets_in_the_open,
            set_at("services/mlflow/command", ["--backend-store-uri=postgresql://u:p@postgres/x"]),
            "address with a password",
        ),
        (secrets_nobody_makes, set_at("secrets/ray_token/file", "./secrets/other"), "does not write it"),
        (secrets_nobody_makes, set_at("secrets/ray_token", {"environment": "TOKEN"}), "not a file"),
        (secrets_nobody_makes, set_at("secrets/ray_token", None), "is not declared"),
        (secrets_nobody_makes, set_at("services/mlflow/secrets", []), "no service uses it"),
        (unchecked_services, set_at("services/seaweedfs/healthcheck", None), "no health check"),
        (unchecked_services, set_at("services/seaweedfs/healthcheck/retries", None), "no health check"),
        (unchecked_services, set_at("services/bootstrap/restart", "always"), "for ever"),
        (
            unchecked_services,
            set_at("services/mlflow/depends_on/postgres/condition", "service_started"),
            "waits for postgres",
        ),
        (loose_services, set_at("services/mlflow/cap_drop", ["NET_RAW"]), "capabilities"),
        (loose_services, set_at("services/mlflow/cap_add", ["SYS_ADMIN"]), "capabilities"),
        (loose_services, set_at("services/mlflow/security_opt", []), "gain privileges"),
        (loose_services, set_at("services/mlflow/user", "0:0"), "runs as root"),
        (loose_services, set_at("services/mlflow/user", None), "runs as root"),
        (loose_services, set_at("services/mlflow/mem_limit", None), "no memory limit"),
        (loose_services, set_at("services/ray-worker/deploy/resources/limits", {}), "no memory limit"),
        (
            loose_services,
            set_at("services/mlflow/volumes", ["/var/run/docker.sock:/var/run/docker.sock"]),
            "socket",
        ),
        (unpinned_images, set_at("services/postgres/image", "postgres"), "names no version"),
        (unpinned_images, set_at("services/postgres/image", "postgres:latest"), "names no version"),
    ],
)
def test_the_rule_finds_a_broken_copy(
    rule: Callable[[Document], Iterator[str]],
    change: Callable[[Document], None],
    finding: str,
    document: Document,
) -> None:
    broken = copy.deepcopy(document)
    change(broken)
    assert any(finding in problem for problem in rule(broken)), list(rule(broken))


# The specification of compose files


def _check_specification(document: Document) -> None:
    PyCompose.from_json(json.dumps(document)).validate()


@pytest.mark.parametrize("path", [COMPOSE, GPU_OVERRIDE], ids=lambda path: path.name)
def test_the_file_keeps_the_specification(path: Any) -> None:
    document = load_compose(path, ENVIRONMENT)
    if path == GPU_OVERRIDE:
        assert document["services"].keys() <= load_compose(COMPOSE, ENVIRONMENT)["services"].keys()
    _check_specification(document)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (set_at("services/mlflow/restrat", "always"), "restrat"),
        (set_at("services/mlflow/healthcheck/intervall", "5s"), "intervall"),
        (set_at("services/mlflow/mem_limit", ["3g"]), "sequence"),
        (set_at("services/mlflow/ports", ["x:5000"]), "port"),
        (set_at("services/mlflow/networks", ["nowhere"]), "nowhere"),
        (set_at("volumes/cache", None), "cache"),
    ],
)
def test_the_specification_finds_a_broken_copy(
    change: Callable[[Document], None], finding: str, document: Document
) -> None:
    change(document)
    with pytest.raises(ValueError, match=finding):
        _check_specification(document)


# Variables, health checks, and the two files together


def test_every_variable_is_documented_and_has_a_default_or_comes_from_make_secrets() -> None:
    readme = (INFRA / "README.md").read_text()
    found = variables(COMPOSE.read_text()) | variables(GPU_OVERRIDE.read_text())
    assert found
    for name, default in found.items():
        assert f"`{name}`" in readme, name
        assert default is not None or name in ENVIRONMENT, f"{name}: nothing sets it"


def test_a_variable_without_a_value_stops_the_start() -> None:
    with pytest.raises(KeyError, match="SEGSEARCH_UID"):
        load_compose(COMPOSE, {"SEGSEARCH_GID": "1000"})


def test_gpu_workers_differ_by_image_and_gpus_only() -> None:
    base = load_compose(COMPOSE, ENVIRONMENT)["services"]["ray-worker"]
    override = load_compose(GPU_OVERRIDE, ENVIRONMENT)["services"]["ray-worker"]
    assert set(base["command"]) - set(override["command"]) == {"--num-gpus=0"}
    assert set(override["command"]) <= set(base["command"])
    assert override.keys() == {"image", "build", "command", "deploy"}


def test_all_ray_nodes_find_the_same_services(document: Document) -> None:
    head, worker = (document["services"][name] for name in ("ray-head", "ray-worker"))
    assert head["environment"] == worker["environment"]
    assert head["secrets"] == worker["secrets"]
    assert "--num-cpus=0" in head["command"], "no trial beside the drivers"
    assert head["environment"]["RAY_AUTH_MODE"] == "token"
