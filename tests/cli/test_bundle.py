"""`finetune bundle`: all that is to be known, in one archive, and no secret."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from finetune_api.types import ObjectMeta
from finetune_cli.main import main
from finetune_cli.masking import mask, without_secrets
from finetune_operator.core import names
from tests.cli.api_stub import JOBS, Answers, serving, write_kubeconfig
from tests.cli.stored_jobs import TRAINING

TOKEN = "hf_" + "a" * 34
JWT = "eyJhbGciOiJSUzI1NiIs.eyJpc3MiOiJrdWJlcm5l.c2lnbmF0dXJlIG9mIGl0"
CORE = "/api/v1/namespaces/search"
PROXY = {"name": "HTTPS_PROXY", "value": "http://me:pw@proxy"}
CHILDREN = names.base(ObjectMeta(name="pages", namespace="search", uid=TRAINING["metadata"]["uid"]))
RUNNING = [{"name": "train", "state": {"running": {}}}, {"name": "sidecar", "state": {"waiting": {}}}]
POD = {
    "metadata": {"name": "pages-train-2-0-x", "uid": "pod", "managedFields": [{"manager": "kubelet"}]},
    "spec": {"containers": [{"env": [*({"name": name, "value": "plain"} for name in ("HF_TOKEN", "RANK")), PROXY]}]},
    "status": {"containerStatuses": RUNNING},
}
EVENTS = [
    {"metadata": {"uid": "1"}, "involvedObject": {"uid": "pod"}, "message": "Pulled"},
    {"metadata": {"uid": "3"}, "involvedObject": {"uid": "gone", "name": f"{CHILDREN}-prepare-x"}, "message": "Lost"},
    {"metadata": {"uid": "2"}, "involvedObject": {"uid": "somebody else's"}, "message": "Killed"},
]
ANSWERS: Answers = {
    f"{JOBS}/pages": (200, TRAINING),
    f"{CORE}/pods": (200, {"items": [POD]}),
    f"{CORE}/events": (200, {"items": EVENTS}),
    f"{CORE}/persistentvolumeclaims": (403, {"message": "forbidden: you may not"}),
    "/apis/batch/v1/namespaces/search/jobs": (200, {"items": []}),
    f"{CORE}/pods/pages-train-2-0-x/log": (200, f"logged in with {TOKEN}\nasked with {JWT}\nstep 1\n".encode()),
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The files of a bundle, by name."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    with serving(ANSWERS) as address:
        write_kubeconfig(tmp_path / "config", address)
        assert main(["bundle", "pages"]) == 0
    assert capsys.readouterr().out == "search/pages: bundle written to pages-bundle.tar.gz\n"
    found = {}
    with tarfile.open(tmp_path / "pages-bundle.tar.gz") as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None
            found[entry.name.removeprefix("pages-bundle/")] = content.read().decode()
    return found


def read(files: dict[str, str], name: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(files[name])


def test_it_has_the_job_its_children_their_events_and_logs(files: dict[str, str]) -> None:
    assert set(files) == {
        *("job.json", "status.txt", "explain.txt", "version.txt", "missing.txt"),
        *("pods.json", "jobs.json", "events.json", "logs/pages-train-2-0-x/train.log"),
    }
    assert read(files, "job.json") == TRAINING
    assert [one["message"] for one in read(files, "events.json")] == ["Pulled", "Lost"]
    assert files["explain.txt"].startswith("search/pages trains (Training): ")


def test_no_token_is_in_it(files: dict[str, str]) -> None:
    assert files["logs/pages-train-2-0-x/train.log"] == "logged in with ***\nasked with ***\nstep 1\n"
    (pod,) = read(files, "pods.json")
    assert pod["spec"]["containers"][0]["env"] == [
        {"name": "HF_TOKEN", "value": "***"},
        {"name": "RANK", "value": "plain"},
        {"name": "HTTPS_PROXY", "value": "http://***@proxy"},
    ]
    assert "managedFields" not in pod["metadata"]


def test_what_may_not_be_read_is_named_and_does_not_matter(files: dict[str, str]) -> None:
    (line,) = files["missing.txt"].splitlines()

    assert line.startswith(
        "volume-claims.json: cannot list persistentvolumeclaims of namespace search: forbidden: you may not; "
    )


def test_what_was_applied_once_is_left_out_and_references_to_secrets_stay() -> None:
    value = {
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a"},
        "env": [{"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}],
    }

    assert without_secrets(value) == {"annotations": {"team": "a"}, "env": value["env"]}


KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nxyz=\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("proxy http://user:p@ss@proxy:3128/ it is", "proxy http://***@proxy:3128/ it is"),
        ("https://ghp_x@github.com/a and hf://acme/base@main", "https://***@github.com/a and hf://acme/base@main"),
        ("key AKIAIOSFODNN7EXAMPLE", "key ***"),
        ("Authorization: Bearer abc.def==", "Authorization: Bearer ***"),
        ("upload --hub-token=abc --api_key=abc PASSWORD=abc", "upload --hub-token=*** --api_key=*** PASSWORD=***"),
        ("upload --hub-token abc --api-key 'a-b' -o x", "upload --hub-token *** --api-key '***' -o x"),
        ("train --tokenizer bert --auth --keep 2", "train --tokenizer bert --auth --keep 2"),
        (f"before\n{KEY}\nafter", "before\n***\nafter"),
        (f"cut: {KEY[:40]}", "cut: ***"),
        ("https://s3/x?X-Amz-Signature=abc&y=1", "https://s3/x?X-Amz-Signature=***&y=1"),
    ],
)
def test_what_looks_like_a_secret_is_masked_in_any_text(text: str, masked: str) -> None:
    assert mask(text) == masked
    assert without_secrets({"args": [text]}) == {"args": [masked]}


def test_the_argument_after_one_that_is_called_like_a_secret_is_masked() -> None:
    command = ["upload", "--token", "abc", "--tokenizer", "bert", "--api-key=abc", "x", "--auth", "-v"]

    masked = ["upload", "--token", "***", "--tokenizer", "bert", "--api-key=***", "x", "--auth", "-v"]
    assert without_secrets({"command": command}) == {"command": masked}


SECRET_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PGPASSWORD", "Authorization", "SENTRY_DSN")


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_variable_that_is_called_like_a_secret_has_no_value(name: str) -> None:
    assert without_secrets([{"name": name, "value": "x"}]) == [{"name": name, "value": "***"}]


def test_other_variables_keep_their_values() -> None:
    env = [{"name": "TOKENIZERS_PARALLELISM", "value": "false"}, {"name": "NCCL_DEBUG", "value": "INFO"}]

    assert without_secrets(env) == env
