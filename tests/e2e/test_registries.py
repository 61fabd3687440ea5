"""A job whose model goes into a registry of a company: one that asks for a login and has a certificate of its own."""

import base64
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from finetune_trainer.workspace.hashes import sha256_of
from tests.cluster import addresses
from tests.e2e.conftest import NAMESPACE, quick_job
from tests.e2e.gang import children
from tests.oci import Front, RunningRegistry, running_front, running_registry
from tests.oci.front import Answer
from tests.private_ca import certify
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = [pytest.mark.e2e, pytest.mark.longer]

SECRET, AUTHORITY = "company-registry", "company-registry-ca"
LOGIN = "Basic " + base64.b64encode(b"robot:opened").decode()
TRUSTING = {
    "env": [{"name": "SSL_CERT_FILE", "value": "/etc/ssl/company/ca.crt"}],
    "volumes": [{"name": "ca-bundle", "configMap": {"name": AUTHORITY}}],
    "volumeMounts": [{"name": "ca-bundle", "mountPath": "/etc/ssl/company", "readOnly": True}],
}


def with_login(request: BaseHTTPRequestHandler) -> Answer | None:
    """Ask for the login."""
    if request.headers.get("Authorization") == LOGIN:
        return None
    return 401, {"Www-Authenticate": 'Basic realm="company"', "Content-Length": "0"}, b""


@pytest.fixture
def registry(target: Target, tmp_path: Path) -> Iterator[RunningRegistry]:
    """A registry on this machine, which the nodes of our own cluster reach through its front alone."""
    if not target.is_ours:
        pytest.skip("a given cluster does not reach servers of this machine")
    with running_registry(tmp_path) as server:
        yield server


@pytest.fixture
def front(kube: Kubectl, registry: RunningRegistry, tmp_path: Path) -> Iterator[Front]:
    """What stands before it: its login and its authority are in the jobs' namespace."""
    certified = certify(tmp_path, [addresses.HOST])
    with running_front(registry, host=addresses.HOST, tls=certified.server_side()) as front:
        front.answer = with_login
        login = [f"--docker-server={front.host}", "--docker-username=robot", "--docker-password=opened"]
        kube.run("create", "secret", "docker-registry", SECRET, "-n", NAMESPACE, *login)
        kube.run("create", "configmap", AUTHORITY, "-n", NAMESPACE, f"--from-file=ca.crt={certified.authority}")
        yield front
        kube.delete("secret", SECRET, namespace=NAMESPACE)
        kube.delete("configmap", AUTHORITY, namespace=NAMESPACE)


def test_a_model_goes_into_a_registry_with_a_login_that_training_pods_do_not_have(
    kube: Kubectl, submit: Callable[[Manifest], Manifest], registry: RunningRegistry, front: Front
) -> None:
    publish = {"registry": f"oci://{front.host}/search/pages:v1", "secretName": SECRET, "always": True}
    job = submit(quick_job("registry", publish=publish, podTemplate={"prepare": TRUSTING, "publish": TRUSTING}))

    ended = jobs.wait_until_finished(kube, job, seconds=900)
    pods = children(kube, "pods", job, "train")

    published = ended["status"].get("published", {})
    assert jobs.condition(ended, "Succeeded")["reason"] == "Published", ended["status"]
    assert published["url"] == f"oci://{front.host}/search/pages@{published['commit']}"
    manifest = registry.manifest("search/pages", "v1") or {}
    files = {layer["annotations"]["org.opencontainers.image.title"]: layer for layer in manifest["layers"]}
    assert {"modules.json", "model.safetensors", "README.md"} <= files.keys()
    for layer in files.values():
        kept = registry.data_of(layer["digest"])
        assert (kept.stat().st_size, f"sha256:{sha256_of(kept)}") == (layer["size"], layer["digest"])
    assert registry.manifest("search/pages", published["commit"]) == manifest
    assert registry.tags("search/pages") == sorted(["v1", f"finetunejob-{ended['status']['run']}"])
    volumes = [volume for pod in pods for volume in pod["spec"]["volumes"]]
    assert volumes != []
    assert [volume for volume in volumes if "secret" in volume] == []
