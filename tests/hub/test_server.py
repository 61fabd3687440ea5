import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

import yaml
from huggingface_hub import HfApi

from tests.hub import running_hub

FOLDER = Path(__file__).parent


@contextmanager
def served(directory: Path) -> Iterator[tuple[str, IO[str]]]:
    """Run the command line; yield the endpoint and the output after the first line."""
    command = [sys.executable, "-m", "tests.hub", "--port", "0", "--directory", str(directory)]
    with subprocess.Popen(command, cwd=FOLDER.parents[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = json.loads(process.stdout.readline())["port"]
            yield f"http://127.0.0.1:{port}", process.stdout
        finally:
            process.terminate()


def test_the_command_line_serves_and_prints_one_json_line_per_request(tmp_path: Path) -> None:
    with served(tmp_path / "hub") as (endpoint, output):
        with urlopen(f"{endpoint}/healthz") as answer:
            health = answer.read()
        HfApi(endpoint=endpoint, token="hf_demo_write").create_repo("demo/model")
        line = json.loads(output.readline())

    assert health == b"ok"
    assert (line["method"], line["path"], line["status"], line["user"]) == ("POST", "/api/repos/create", 200, "demo")


def test_a_restarted_hub_goes_on_where_it_was(tmp_path: Path) -> None:
    content = os.urandom(1000)
    with running_hub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.write_token)
        api.create_repo("acme/model", private=True)
        api.create_tag("acme/model", tag="v1")
        api.upload_file(path_or_fileobj=content, path_in_repo="model.safetensors", repo_id="acme/model")
        before = hub.commits("acme/model")

    with running_hub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.write_token)
        after = hub.commits("acme/model")
        path = api.hf_hub_download("acme/model", "model.safetensors")

    assert after == before
    assert Path(path).read_bytes() == content


def test_all_repositories_can_be_deleted_at_once(tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.write_token)
        api.create_repo("acme/model")
        hub.delete_repositories()

        assert not api.repo_exists("acme/model")


def manifest() -> dict[str, Any]:
    documents = yaml.safe_load_all((FOLDER / "manifest.yaml").read_text())
    return {document["kind"]: document for document in documents}


def test_the_manifest_gives_the_service_the_port_the_server_listens_on() -> None:
    service, pod = manifest()["Service"], manifest()["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]

    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert container["args"][3] == "8080"
    assert container["image"] == "HUB_IMAGE"
