"""Deployment files: linters accept them, and they agree with the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


LINTS = {
    "hadolint": ("Dockerfile", ["hadolint", "{file}"], ("USER 10001", "USER root")),
    "docker-compose": ("compose.yaml", ["docker-compose", "-f", "{file}", "config", "-q"], ("cap_drop", "cap_dropped")),
    "kubernetes-validate": (
        "kubernetes.yaml",
        ["kubernetes-validate", "--strict", "{file}"],
        ("replicas: 2", "replicas: two"),
    ),
}


@pytest.mark.parametrize("name", LINTS)
def test_the_tools_own_linters_find_nothing(name: str, tmp_path: Path) -> None:
    file, command, (right, wrong) = LINTS[name]
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which(name, path=beside) is None:
        pytest.skip(f'{name} is not installed: pip install "deftrec[deploy]"')

    def clean(path: Path) -> bool:
        words = [word.format(file=path) for word in command]
        environment = {**os.environ, "PATH": beside, "POSTGRES_PASSWORD": "x"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        complaints = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO")]
        return done.returncode == 0 and not complaints  # docker-compose's Python wrapper loses its exit code

    assert clean(DEPLOY / file)
    damaged = (DEPLOY / file).read_text(encoding="utf-8").replace(right, wrong)
    assert wrong in damaged
    (tmp_path / file).write_text(damaged, encoding="utf-8")
    assert not clean(tmp_path / file)


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_what_the_dockerfile_copies_exists_and_is_enough_to_build() -> None:
    copied = [word for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]]
    assert all((ROOT / path).exists() for path in copied)
    included = re.findall(r'^"(.+)" = "deftrec/', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert {*included, "src", "pyproject.toml", "README.md", "LICENSE"} <= set(copied), "the wheel is made of these"


def test_the_image_runs_as_nobody_and_starts_the_verb() -> None:
    assert re.search(r"^USER 10001$", DOCKERFILE, re.MULTILINE)
    [command] = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert "deftrec serve" in command
    from deftrec.cli import app

    [serve] = [one.callback for one in app.registered_commands if one.callback and one.callback.__name__ == "serve"]
    names = {name.replace("_", "-") for name in serve.__annotations__}
    assert set(re.findall(r"--([a-z-]+)", command)) <= names


def test_compose_is_two_services_that_fit() -> None:
    compose = read("compose.yaml")
    service, database = compose["services"]["service"], compose["services"]["database"]
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert service["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "@database/" in service["environment"]["DEFTREC_STORE"]
    assert database["image"].startswith("pgvector/")
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert ":8000" in service["ports"][0]
    assert "EXPOSE 8000" in DOCKERFILE


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_are_routes_that_need_no_key(client: TestClient, probe: str) -> None:
    [container] = read("kubernetes.yaml")["spec"]["template"]["spec"]["containers"]
    path = container[probe]["httpGet"]["path"]
    assert client.get(path).status_code == 200
    assert (path == "/readyz") == (probe == "readinessProbe"), "a store that is away is no reason to restart"
