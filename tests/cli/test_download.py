"""`finetune download`: the model off the volume or from the Hub, byte for byte, or no folder at all."""

import json
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import ExitCode
from finetune_api.status import ModelStatus
from finetune_cli.cluster.connection import Cluster
from finetune_cli.cluster.reader import BLOCK_BYTES, reader_pod
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import Manifest, read_stored
from finetune_cli.main import main
from finetune_cli.models.hub import asking, model_at
from finetune_trainer.hub.client import connect
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import hash_files
from tests.cli.stored_jobs import FAILED, STORAGE, SUCCEEDED, TRAINING
from tests.hub import RunningHub

LARGE = b"weights" * (BLOCK_BYTES // 4)
FILES = {"modules.json": b"[]", "model.safetensors": LARGE, "1_Pooling/config.json": b"{}", "empty.txt": b""}
UNPUBLISHED: Manifest = {**SUCCEEDED, "status": {**SUCCEEDED["status"], "published": None}}
STORED = {"repository": "s3://company/models", "commit": "0" * 64, "url": "s3://company/models/a-1"}
IN_BUCKET: Manifest = {**SUCCEEDED, "status": {**SUCCEEDED["status"], "published": STORED}}
ARTIFACT = "oci://registry.example/team/pages"
TAGGED = {"repository": f"{ARTIFACT}:v1", "commit": f"sha256:{'0' * 64}", "url": f"{ARTIFACT}@sha256:{'0' * 64}"}
IN_REGISTRY: Manifest = {**SUCCEEDED, "status": {**SUCCEEDED["status"], "published": TAGGED}}
RUNNING = {"phase": "Running"}
IMAGE = {"image": {"name": "registry.example/trainer@sha256:1"}}


class Volume(Cluster):
    """A cluster with one job, whose volume is a folder of this machine."""

    def __init__(self, root: Path, job: Manifest, *, states: list[Manifest] | None = None) -> None:
        self.root, self.job, self.namespace = root, job, "search"
        self.states = iter(states or [{"phase": "Pending"}, RUNNING])
        self.made: list[Manifest] = []
        self.deleted: list[str] = []
        self.refusals: list[RefusalError] = []
        self.ran: list[Manifest] = []
        self.not_admitted: Callable[[Manifest], bool] = lambda _: False

    def get(self, _: str) -> Manifest:
        return self.job

    def pods(self, _: str) -> list[Manifest]:
        return self.ran

    def create_pod(self, manifest: Manifest) -> Manifest:
        self.made.append(manifest)
        if self.not_admitted(manifest["spec"]["securityContext"]):
            raise RefusalError("cannot create a pod: not in the range", ExitCode.ACCESS_REFUSED)
        return {"metadata": {"name": "reader-1"}}

    def pod(self, _: str) -> Manifest:
        return {"status": next(self.states)}

    def delete_pod(self, name: str) -> None:
        self.deleted.append(name)

    def execute(self, _: str, __: str, command: list[str]) -> bytes:
        if self.refusals:
            raise self.refusals.pop()
        here = [part.replace("/workspace", str(self.root)) for part in command]
        done = subprocess.run(here, capture_output=True, check=False)
        if done.returncode:
            raise RefusalError(f"cannot run dd: {done.stderr.decode().strip()}", ExitCode.NOT_FOUND)
        return done.stdout


def lay(root: Path, files: dict[str, bytes] = FILES) -> None:
    """Write what a finished training leaves on its volume."""
    for name, content in files.items():
        path = root / "train" / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    hashes = hash_files(root / "train" / "model")
    report = Report(run="r", model=ModelStatus(), steps=1, total_steps=1, files=hashes)
    report.write(root / "train" / "report.json")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """The volume of a job that has succeeded and published nothing."""
    found = Volume(tmp_path / "volume", UNPUBLISHED)
    monkeypatch.setattr("finetune_cli.cluster.downloading.cluster_of", lambda _: found)
    monkeypatch.setattr("finetune_cli.cluster.reader._POLL_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    lay(found.root)
    return found


def test_the_model_comes_off_the_volume_whole_by_a_pod_that_goes_again(
    volume: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["download", "pages"])

    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert printed.out == ("search/pages: model of 7 MB written to pages, from volume claim pages-666ff6cc-workspace\n")
    assert content(Path("pages")) == FILES
    assert (len(volume.made), volume.deleted) == (1, ["reader-1"])


def test_programs_are_told_where_it_is(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "pages", "models/here", "-o", "json"]) == 0

    num_bytes = sum(map(len, FILES.values()))
    assert json.loads(capsys.readouterr().out) == {"folder": "models/here", "from": "volume", "bytes": num_bytes}
    assert content(Path("models/here")) == FILES


def test_on_a_claim_that_jobs_share_the_own_folder_is_read(volume: Volume) -> None:
    volume.job = {**UNPUBLISHED, "status": {**UNPUBLISHED["status"], "storage": {**STORAGE, "folder": "teams/a"}}}
    lay(volume.root / "teams" / "a", {"modules.json": b"other"})

    assert main(["download", "pages"]) == 0
    assert content(Path("pages")) == {"modules.json": b"other"}


def change(volume: Volume) -> None:
    (volume.root / "train" / "model" / "model.safetensors").write_bytes(LARGE.replace(b"w", b"v", 1))


def cut(volume: Volume) -> None:
    (volume.root / "train" / "model" / "model.safetensors").write_bytes(LARGE[:-1])


def lead_outside(volume: Volume) -> None:
    report = volume.root / "train" / "report.json"
    report.write_text(report.read_text().replace("empty.txt", "../../outside"))


def leave_unfinished(volume: Volume) -> None:
    (volume.root / "train" / "report.json").unlink()


@pytest.mark.parametrize(
    ("harm", "code", "told"),
    [
        (change, ExitCode.STORAGE_FAULT, "is not whole: model.safetensors has changed since it was written"),
        (cut, ExitCode.STORAGE_FAULT, f"is not whole: model.safetensors has {len(LARGE) - 1} bytes instead of"),
        (lead_outside, ExitCode.STORAGE_FAULT, "names '../../outside', which is no file of a model"),
        (leave_unfinished, ExitCode.NOT_FOUND, "there is no train/report.json on its volume"),
    ],
)
def test_what_is_not_what_training_wrote_leaves_no_folder(
    volume: Volume,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Volume], None],
    code: ExitCode,
    told: str,
) -> None:
    harm(volume)

    assert main(["download", "pages"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("search/pages: ")
    assert told in line
    assert [path.name for path in Path().iterdir()] == ["volume"]
    assert volume.deleted == ["reader-1"]


def test_a_block_that_does_not_come_is_asked_for_again(volume: Volume) -> None:
    volume.refusals = [RefusalError("gone", ExitCode.CLUSTER_UNAVAILABLE)] * 9

    assert main(["download", "pages"]) == 0
    assert content(Path("pages")) == FILES


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (
            {"phase": "Pending", "conditions": [{"status": "False", "reason": "Unschedulable", "message": "no node"}]},
            "Unschedulable: no node",
        ),
        (
            {
                "phase": "Pending",
                "conditions": [{"status": "False", "reason": "ContainersNotReady"}],
                "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "denied"}}}],
            },
            "ImagePullBackOff: denied",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "no memory"}, "Evicted: no memory"),
    ],
)
def test_a_pod_that_does_not_run_is_told_and_goes(
    volume: Volume, capsys: pytest.CaptureFixture[str], state: Manifest, told: str
) -> None:
    volume.states = iter([state] * 1000)

    assert main(["download", "pages"]) == ExitCode.CLUSTER_UNAVAILABLE
    assert f"does not run: {told}; see to that, or --image\n" in capsys.readouterr().err
    assert volume.deleted == ["reader-1"]


@pytest.mark.parametrize(
    ("job", "options", "expected"),
    [
        (TRAINING, [], (31, "search/pages is Training and has no model yet; `finetune watch pages`")),
        (UNPUBLISHED, ["--from", "hub"], (31, "it was not published; leave out --from hub")),
        (IN_REGISTRY, ["--from", "hub"], (31, f"it was published as {TAGGED['url']}; leave out --from hub")),
        (IN_BUCKET, ["--from", "hub"], (31, "it was published as s3://company/models/a-1; leave out --from hub")),
        (UNPUBLISHED, ["volume"], (2, "volume is there already; name a folder that is not")),
        (UNPUBLISHED, ["volume/empty"], (2, "volume/empty is there already; name a folder that is not")),
        (UNPUBLISHED, ["."], (2, ". is there already; name a folder that is not")),
        (
            {**FAILED, "status": {**FAILED["status"], "storage": None}},
            [],
            (31, "ended before it had a volume, so it has no model"),
        ),
    ],
)
def test_without_a_model_or_a_place_for_it_no_pod_is_made(
    volume: Volume, capsys: pytest.CaptureFixture[str], job: Manifest, options: list[str], expected: tuple[int, str]
) -> None:
    volume.job = job
    (volume.root / "empty").mkdir()
    code, told = expected

    assert main(["download", "pages", *options]) == code
    assert told in capsys.readouterr().err
    assert volume.made == []


def test_the_pod_may_only_read_and_is_like_those_of_the_job() -> None:
    schedule = {"tolerations": [{"operator": "Exists"}]}
    stored = {"spec": {**UNPUBLISHED["spec"], "schedule": schedule}, "status": {**UNPUBLISHED["status"], **IMAGE}}
    job = read_stored({**UNPUBLISHED, **stored})
    own: dict[str, Any] = {"securityContext": {"runAsUser": 7}, "imagePullSecrets": [{"name": "registry"}]}

    alone, beside = reader_pod(job, []), reader_pod(job, [{"spec": {**own, "containers": []}}], image="busybox")

    (container,) = alone["spec"]["containers"]
    assert container["image"] == "registry.example/trainer@sha256:1"
    assert container["volumeMounts"] == [{"name": "workspace", "mountPath": "/workspace", "readOnly": True}]
    assert alone["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == STORAGE["claim"]
    assert alone["spec"]["securityContext"]["runAsUser"] == 65532
    assert beside["spec"]["containers"][0]["image"] == "busybox"
    assert {name: beside["spec"][name] for name in own} == own
    assert alone["spec"]["tolerations"] == beside["spec"]["tolerations"] == schedule["tolerations"]


def test_where_the_platform_chooses_user_ids_the_pod_chooses_none(volume: Volume) -> None:
    volume.not_admitted = lambda security: "runAsUser" in security or "fsGroup" in security

    assert main(["download", "pages"]) == 0

    refused, taken = (pod["spec"] for pod in volume.made)
    given = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    assert {**taken, "securityContext": {**taken["securityContext"], **given}} == refused
    assert taken["securityContext"] == {
        "runAsNonRoot": True,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert content(Path("pages")) == FILES


def test_who_may_make_no_pods_is_told_so(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    volume.not_admitted = lambda _: True

    assert main(["download", "pages"]) == ExitCode.ACCESS_REFUSED

    assert capsys.readouterr().err == "cannot create a pod: not in the range\n"
    assert volume.deleted == []


def publish(hub: RunningHub, files: dict[str, bytes]) -> str:
    """Return the commit by which a repository has these files."""
    from huggingface_hub import CommitOperationAdd

    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo("acme/better", private=False, exist_ok=True)
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
    return str(api.create_commit("acme/better", operations=operations, commit_message="a model").oid)


def published_at(commit: str) -> Manifest:
    published = {"repository": "acme/better", "commit": commit}
    return {**SUCCEEDED, "status": {**SUCCEEDED["status"], "published": published}}


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_what_was_published_comes_from_the_hub_as_it_was_then(
    volume: Volume, hub: RunningHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    model = {"modules.json": b"[]", "model.safetensors": b"w" * 1000}
    commit = publish(hub, model)
    publish(hub, {"modules.json": b"newer"})
    volume.job = published_at(commit)

    assert main(["download", "pages"]) == 0
    assert capsys.readouterr().out == f"search/pages: model of 0 MB written to pages, from acme/better at {commit}\n"
    found = content(Path("pages"))
    assert {name: found[name] for name in model} == model
    assert volume.made == []


def test_what_the_hub_has_not_is_told_and_leaves_no_folder(
    volume: Volume, hub: RunningHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    volume.job = published_at("0" * 40)

    assert main(["download", "pages"]) == ExitCode.BAD_DATA
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        f"; here the Hub is {hub.endpoint} (HF_ENDPOINT), the token that of HF_TOKEN or of `hf auth login`"
    )
    assert [path.name for path in Path().iterdir()] == ["volume"]


def test_a_hub_that_does_not_answer_is_told_once_and_not_at_each_try() -> None:
    log = logging.getLogger("huggingface_hub.utils._http")

    with asking(model_at("acme/better", "0" * 40)):
        warns = log.isEnabledFor(logging.WARNING)

    assert (warns, log.isEnabledFor(logging.WARNING)) == (False, True)
