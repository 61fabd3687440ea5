"""A job whose model goes into a registry of a company: one that asks for a login and has a certificate of its own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finetune_trainer.workspace.hashes import sha256_of
from tests.cluster import addresses
from tests.e2e.conftest import NAMESPACE, quick_job
from tests.e2e.gang import children
from tests.oci import RunningRegistry, running_registry
from tests.private_ca import certify
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = [pytest.mark.e2e, pytest.mark.longer]

SECRET, AUTHORITY = "company-registry", "company-registry-ca"
#: The password is "opened".
LOGINS = "robot:$2b$05$abcdefghijklmnopqrstuu1B3SGAN3t.whMSgHXfoWbt7TwfXsOo6\n"
TRUSTING = {
    "env": [{"name": "SSL_CERT_FILE", "value": "/etc/ssl/company/ca.crt"}],
    "volumes": [{"name": "ca-bundle", "configMap": {"name": AUTHORITY}}],
    "volumeMounts": [{"name": "ca-bundle", "mountPath": "/etc/ssl/company", "readOnly": True}],
}


@pytest.fixture
def registry(kube: Kubectl, target: Target, tmp_path: Path) -> Iterator[RunningRegistry]:
    """The registry on this machine; its login and its authority are in the jobs' namespace."""
    if not target.is_ours:
        pytest.skip("a given cluster does not reach servers of this machine")
    certified = certify(tmp_path, [addresses.HOST])
    logins = tmp_path / "logins"
    logins.write_text(LOGINS)
    certificate = (certified.certificate, certified.key)
    with running_registry(tmp_path, host=addresses.HOST, certificate=certificate, logins=logins) as server:
        login = [f"--docker-server={server.host}", "--docker-username=robot", "--docker-password=opened"]
        kube.run("create", "secret", "docker-registry", SECRET, "-n", NAMESPACE, *login)
        kube.run("create", "configmap", AUTHORITY, "-n", NAMESPACE, f"--from-file=ca.crt={certified.authority}")
        yield server
        kube.delete("secret", SECRET, namespace=NAMESPACE)
        kube.delete("configmap", AUTHORITY, namespace=NAMESPACE)


def test_a_model_goes_into_a_registry_with_a_login_that_training_pods_do_not_have(
    kube: Kubectl, submit: Callable[[Manifest], Manifest], registry: RunningRegistry
) -> None:
    place = f"oci://{registry.host}/search/pages:v1"
    publish = {"registry": place, "secretName": SECRET, "always": True}
    job = submit(quick_job("registry", publish=publish, podTemplate={"prepare": TRUSTING, "publish": TRUSTING}))

    ended = jobs.wait_until_finished(kube, job, seconds=900)
    pods = children(kube, "pods", job, "train")

    published = ended["status"].get("published", {})
    assert jobs.condition(ended, "Succeeded")["reason"] == "Published", ended["status"]
    assert published["url"] == f"oci://{registry.host}/search/pages@{published['commit']}"
    manifest = json.loads(registry.data_of(published["commit"]).read_bytes())
    files = {layer["annotations"]["org.opencontainers.image.title"]: layer for layer in manifest["layers"]}
    assert {"modules.json", "model.safetensors", "README.md"} <= files.keys()
    for layer in files.values():
        kept = registry.data_of(layer["digest"])
        assert (kept.stat().st_size, f"sha256:{sha256_of(kept)}") == (layer["size"], layer["digest"])
    tags = registry.folder / "docker/registry/v2/repositories/search/pages/_manifests/tags"
    run = ended["status"]["run"]
    assert {tag.name: (tag / "current/link").read_text() for tag in tags.iterdir()} == {
        "v1": published["commit"],
        f"finetunejob-{run}": published["commit"],
    }
    volumes = [volume for pod in pods for volume in pod["spec"]["volumes"]]
    assert volumes != []
    assert [volume for volume in volumes if "secret" in volume] == []
