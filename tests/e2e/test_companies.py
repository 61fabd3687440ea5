"""A company's cluster: OpenShift's rule about user ids, volumes of one node, a Hub behind a proxy and a private CA.

That Hub lacks calls that are optional. One job goes through all of it, with what the documentation says to set.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_trainer.hub.client import connect
from tests.cluster import addresses
from tests.demo.__main__ import on_one_node
from tests.e2e.conftest import quick_job
from tests.e2e.gang import LABEL_JOB, OPERATOR, children
from tests.e2e.local_volumes import CLASS, local_volumes
from tests.e2e.random_users import random_users, users_of
from tests.hub import RunningHub, running_hub
from tests.private_ca import Certified, certify
from tests.proxy import running_proxy
from tests.stack import jobs
from tests.stack.install import RELEASE, ROOT, SYSTEM_NAMESPACE, Stack, install_chart, run_helm
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = [pytest.mark.e2e, pytest.mark.alone]
NAMESPACE = "finetune-company"
USER, OPERATORS_USER = 1_000_650_000, 1_000_660_000
NAME, REPOSITORY = "company", "demo/company"
INPUTS = ROOT / "build" / "inputs"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of the job, and of the operator that ran it."""

    hub: str
    """Where the proxy reaches the Hub."""
    asked: set[str]
    """Of the proxy."""
    operators: list[Manifest]
    ended: Manifest
    pods: list[Manifest]
    commits: list[dict[str, Any]]
    downloaded: set[str]
    refused: dict[str, Any]
    """Condition of a job that chooses a user id itself."""


@pytest.fixture(scope="module")
def seen(stack: Stack, kube: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """What is seen while the operator is that of the company."""
    if not stack.target.is_ours:
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")
    if shutil.which("apt-get") is None:
        pytest.skip("the proxy comes out of a Debian package, and there is no apt-get")
    folder = tmp_path_factory.mktemp("company")
    certified = certify(folder, ["localhost"])
    with (
        chart_put_back(stack),
        local_volumes(kube),
        own_namespace(stack, certified),
        random_users(kube, {NAMESPACE: USER, SYSTEM_NAMESPACE: OPERATORS_USER}),
        running_hub(tls=certified.server_side()) as hub,
        running_proxy(folder, host=addresses.HOST) as proxy,
    ):
        fill(hub)
        hub.features(whoami=False, settings=False)
        endpoint = f"localhost:{hub.tls_port}"  # of the machine that the proxy is on: in a pod nobody listens there
        values = {**example("HTTPS_PROXY", {"http://proxy.example:3128": proxy.address}), **example("podSecurity")}
        install_chart(stack.target, more={**values, "hub": {"endpoint": f"https://{endpoint}"}})
        run_helm(stack.target, "test", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--timeout", "10m")
        ended, pods = run_job(kube)
        yield Seen(
            hub=endpoint,
            asked=set(proxy.asked()),
            operators=kube.find("pods", namespace=SYSTEM_NAMESPACE, selector=OPERATOR),
            ended=ended,
            pods=pods,
            commits=hub.commits(REPOSITORY)["commits"],
            downloaded=download(kube, folder / "model"),
            refused=submit_with_user_id(kube),
        )


@contextmanager
def chart_put_back(stack: Stack) -> Iterator[None]:
    """Have the chart with the values of all other tests afterwards."""
    try:
        yield
    finally:
        install_chart(stack.target)


@contextmanager
def own_namespace(stack: Stack, certified: Certified) -> Iterator[None]:
    """Have the namespace, with what jobs need to know whom to trust."""
    stack.namespace(NAMESPACE)
    metadata = {"name": "company-ca", "namespace": NAMESPACE}
    trusted = {"ca.crt": certified.authority.read_text()}
    stack.target.kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": trusted})
    try:
        yield
    finally:
        stack.target.kubectl.run("delete", "namespace", NAMESPACE)


def fill(hub: RunningHub) -> None:
    """Put model and pages on the Hub, past TLS and proxy."""
    api = connect(hub.endpoint, token=hub.write_token)
    for kind, name in (("model", "tiny-qwen3-vl"), ("dataset", "pages")):
        api.create_repo(f"demo/{name}", repo_type=kind)
        api.upload_folder(repo_id=f"demo/{name}", repo_type=kind, folder_path=INPUTS / f"{kind}s" / "demo" / name)


def example(word: str, replaced: dict[str, str] | None = None) -> Manifest:
    """Return the chart values of the only example of docs/pods.md that has the word, with other texts in it."""
    page = (ROOT / "docs" / "pods.md").read_text()
    (text,) = [one for one in re.findall(r"^```yaml\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL) if word in one]
    for old, new in (replaced or {}).items():
        assert old in text
        text = text.replace(old, new)
    values: Manifest = yaml.safe_load(text)
    return values


def job_of(name: str, **changes: object) -> Manifest:
    """Return a job for one node without accelerators and a volume that no other node has."""
    local = {"resources__accelerator__perNode": 0, "storage__storageClassName": CLASS}
    job = on_one_node(quick_job(name, publish__repository=REPOSITORY, **local, **changes))
    return job | {"metadata": job["metadata"] | {"namespace": NAMESPACE}}


def run_job(kube: Kubectl) -> tuple[Manifest, list[Manifest]]:
    """Return the job at its end, and its pods."""
    job = job_of(NAME)
    kube.apply(job)
    return jobs.wait_until_finished(kube, job, seconds=1800), children(kube, "pods", job)


def download(kube: Kubectl, folder: Path) -> set[str]:
    """Return the files of the model on the job's volume, fetched by its owner when none of its pods is left."""
    kube.run("delete", "pods", "-n", NAMESPACE, "-l", f"{LABEL_JOB}={NAME}")
    command = [sys.executable, "-m", "finetune_cli", "download", NAME, str(folder), "--from", "volume", "-n", NAMESPACE]
    done = subprocess.run(command, env=kube.environment, check=False, capture_output=True, text=True, timeout=1800)
    assert (done.returncode, done.stderr) == (0, ""), done
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def is_blocked(job: Manifest) -> bool:
    return jobs.condition(job, "Succeeded").get("reason") == "Blocked"


def submit_with_user_id(kube: Kubectl) -> dict[str, Any]:
    """Return what is told of a job that wants to run as the image's own user."""
    job = job_of("choosy", podTemplate={"all": {"securityContext": {"runAsUser": 65532}}})
    kube.apply(job)
    told = jobs.wait_until(kube, job, is_blocked, seconds=1800)
    kube.delete(jobs.KIND, "choosy", namespace=NAMESPACE)  # once the rule is gone it would begin
    return jobs.condition(told, "Succeeded")


def test_a_job_whose_users_the_platform_chooses_goes_on_a_volume_of_one_node_from_prepare_to_its_commit(
    seen: Seen,
) -> None:
    status = seen.ended["status"]

    assert status["phase"] == "Succeeded", status
    assert (status["attempt"], status["restarts"]["total"], status["worldSize"]) == (1, 0, 1)
    assert status["published"]["commit"] == seen.commits[0]["oid"]
    assert {"README.md", "modules.json", "model.safetensors"} <= set(seen.commits[0]["files"])


def test_where_the_platform_chooses_users_all_pods_of_operator_and_job_run_as_those(seen: Seen) -> None:
    roles = {pod["metadata"]["labels"]["finetune.dev/role"] for pod in seen.pods}

    assert roles == {"prepare", "train", "publish"}
    assert users_of(seen.pods) == {(USER, None, USER)}
    assert users_of(seen.operators) == {(OPERATORS_USER, None, OPERATORS_USER)}


def test_the_hub_is_asked_through_the_proxy_alone_and_nothing_else_is(seen: Seen) -> None:
    assert seen.asked == {f"CONNECT {seen.hub}"}


def test_a_hub_without_optional_calls_gets_the_model_and_the_status_gets_a_warning(seen: Seen) -> None:
    assert any("whoami" in warning for warning in seen.ended["status"]["warnings"])
    assert len([commit for commit in seen.commits if commit["title"].startswith("Finetune")]) == 1


def test_a_model_is_downloaded_where_the_platform_chooses_users_and_no_pod_tells_which(seen: Seen) -> None:
    assert {"modules.json", "model.safetensors"} <= seen.downloaded


def test_a_job_that_chooses_a_user_is_told_what_the_platform_says_to_that(seen: Seen) -> None:
    assert seen.refused["status"] == "Unknown"
    assert "runAsUser: Invalid value: 65532: must be in the ranges: [1000650000, 1000659999]" in seen.refused["message"]
