"""publish as an OCI artifact into a real registry: whole or not at all, once, and nothing of others."""

import base64
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import RunResult
from finetune_api.reasons import Reason
from finetune_api.status import PublishedStatus
from finetune_trainer.hub.published import PublishedRuns
from finetune_trainer.prepare.prepare import published_before
from finetune_trainer.publish.preflight import preflight
from finetune_trainer.publish.publish import publish
from finetune_trainer.publish.registry.client import Artifact, Client
from finetune_trainer.publish.registry.login import login_secrets
from finetune_trainer.publish.registry.manifest import Descriptor, digest_of
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import hash_files
from tests.cluster import binaries
from tests.oci import Front, RunningRegistry, running_front, running_registry
from tests.oci.front import Answer
from tests.private_ca import certify
from tests.trainer.conftest import Run, write_secret
from tests.trainer.publishing import finished_run, make_run_in, scores, with_if_exists

MakeFinished = Callable[..., Run]

PATH = "team/pages"
#: Files, and the empty configuration.
NUM_BLOBS = 12
OWNER = base64.b64encode(b"owner:secret-of-the-owner").decode()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    if shutil.which("go") is None and not binaries.registry().exists():
        pytest.skip("the registry is missing: it is built from Go modules, and there is no Go")
    with running_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(autouse=True)
def no_login_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture
def front(registry: RunningRegistry) -> Iterator[Front]:
    """What stands before the registry, which is empty."""
    shutil.rmtree(registry.folder, ignore_errors=True)
    with running_front(registry) as front:
        yield front


@dataclass(frozen=True)
class Target:
    """Where the tests publish to."""

    front: Front
    registry: RunningRegistry

    @property
    def place(self) -> str:
        return f"oci://{self.front.host}/{PATH}:v1"

    def manifest(self, tag: str = "v1") -> dict[str, Any] | None:
        return self.registry.manifest(PATH, tag)

    def pulled(self, reference: str) -> dict[str, bytes]:
        """Return the files that a tag or a digest names."""
        manifest = self.manifest(reference)
        assert manifest is not None
        titles = {layer["annotations"]["org.opencontainers.image.title"]: layer for layer in manifest["layers"]}
        blobs = {title: self.registry.get(f"{PATH}/blobs/{layer['digest']}") for title, layer in titles.items()}
        return {title: content for title, content in blobs.items() if content is not None}

    def put(self, tag: str, manifest: bytes) -> None:
        """Tag something else."""
        Client(Artifact(self.registry.host, PATH, tag), None).tag(tag, manifest)


@pytest.fixture
def target(front: Front, registry: RunningRegistry) -> Target:
    return Target(front, registry)


@pytest.fixture
def make(tmp_path: Path, small_model: Path, target: Target) -> MakeFinished:
    """Return what makes a run with a trained model that goes into the registry, in a folder of its own."""

    def make(name: str, place: str = target.place, **more: Any) -> Run:  # noqa: ANN401 - as finished_run
        where: dict[str, Any] = {"repository": None, "tokenSecret": None, "registry": place}
        run = finished_run(make_run_in(tmp_path / name), small_model, **where, **more)
        own = {"sources": {}, "run": run.id}
        InputsManifest.read(run.workspace.manifest).model_copy(update=own).write(run.workspace.manifest)
        return run

    return make


@pytest.fixture
def run(make: MakeFinished) -> Run:
    return make("first")


def changed(run: Run) -> Run:
    """Let the run have trained another model."""
    (run.workspace.model / "tokenizer.json").write_text('{"another": "one"}')
    report = Report.read(run.workspace.report)
    report.model_copy(update={"files": hash_files(run.workspace.model)}).write(run.workspace.report)
    return run


def local(run: Run) -> dict[str, bytes]:
    """Return what there is to publish, once publish has written what tells of it."""
    folders = (run.workspace.model, run.workspace.receipt.parent)
    found = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*")}
    return {name: path.read_bytes() for name, path in found.items() if path.is_file() and name != "receipt.json"}


def outcome(work: Callable[[], RunResult]) -> tuple[Reason, str]:
    try:
        result = work()
    except RunFailure as failure:
        return failure.reason, failure.message
    return result.reason, result.message


def with_login(run: Run, *servers: str, password: str = "secret-of-the-owner") -> Run:
    """Mount a Secret as `kubectl create secret docker-registry` makes it."""
    auth = base64.b64encode(f"owner:{password}".encode()).decode()
    login = {"username": "owner", "password": password, "auth": auth}
    content = json.dumps({"auths": dict.fromkeys(servers, login)})
    write_secret(run.settings.write_bucket, {".dockerconfigjson": content})
    return run


def test_a_model_is_stored_with_its_tag_last_and_pulled_again_byte_by_byte(run: Run, target: Target) -> None:
    result = publish(run.config, run.settings)

    content = target.registry.get(f"{PATH}/manifests/v1")
    assert content is not None
    digest, own = f"sha256:{sha256(content).hexdigest()}", f"finetunejob-{run.id}"
    url = f"oci://{target.front.host}/{PATH}@{digest}"
    status = PublishedStatus(repository=target.place, commit=digest, tag=own, url=url)
    assert (result.reason, result.message, result.published) == (Reason.PUBLISHED, f"Published as {url}.", status)
    assert PublishedStatus.model_validate_json(run.workspace.receipt.read_bytes()) == status
    assert target.pulled("v1") == target.pulled(digest) == local(run)
    assert target.front.written() == [*["blob"] * NUM_BLOBS, "v1", own]
    told = json.loads(content)["annotations"]
    assert told.pop("dev.finetune.content")
    assert told == {
        "org.opencontainers.image.ref.name": "v1",
        "dev.finetune.run": run.id,
        "dev.finetune.job": "search/pages",
        "dev.finetune.score": "ndcg@10=0.8000",
    }


def test_other_programs_pull_the_folder(run: Run, target: Target, tmp_path: Path) -> None:
    from oras.client import OrasClient  # type: ignore[import-untyped]

    publish(run.config, run.settings)

    OrasClient(insecure=True).pull(target=target.place.removeprefix("oci://"), outdir=str(tmp_path / "pulled"))

    folder = tmp_path / "pulled"
    assert {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    } == local(run)


def test_a_second_run_finds_the_model_and_writes_nothing(run: Run, target: Target) -> None:
    first = publish(run.config, run.settings)
    target.front.asked.clear()

    second = publish(run.config, run.settings)

    assert (second.reason, second.published) == (Reason.ALREADY_PUBLISHED, first.published)
    assert target.front.written() == []
    assert target.registry.tags(PATH) == [f"finetunejob-{run.id}", "v1"]


@pytest.mark.parametrize("is_done", [False, True], ids=["before it is done", "after it is done"])
@pytest.mark.parametrize("writes", range(NUM_BLOBS + 2))
def test_whenever_it_is_cut_off_no_half_model_has_the_tag_and_the_next_try_goes_on(
    run: Run, target: Target, *, writes: int, is_done: bool
) -> None:
    left = iter(range(writes))

    def cut(method: str) -> None:
        if method == "PUT" and next(left, None) is None:
            raise ConnectionAbortedError

    if is_done:
        target.front.after = lambda method, _: cut(method)
    else:
        target.front.answer = lambda request: cut(request.command)
    found = outcome(lambda: publish(run.config, run.settings))
    half = target.manifest()
    target.front.answer, target.front.after = lambda _: None, lambda *_: None
    target.front.asked.clear()

    again = publish(run.config, run.settings)

    assert found[0] is Reason.HUB_UNAVAILABLE
    assert half is None or target.pulled("v1") == local(run)
    assert target.pulled("v1") == local(run)
    assert again.published is not None
    assert len(target.front.written()) <= NUM_BLOBS + 2 - writes
    assert target.registry.tags(PATH) == [f"finetunejob-{run.id}", "v1"]


def test_another_model_of_the_run_gets_the_tag(run: Run, target: Target) -> None:
    first = publish(run.config, run.settings).published
    second = publish(changed(run).config, run.settings).published

    assert first is not None
    assert second is not None
    assert first.commit != second.commit
    assert target.pulled("v1")["tokenizer.json"] == b'{"another": "one"}'


def test_a_model_that_lost_the_tag_to_a_later_one_keeps_its_own_and_is_not_published_again(
    run: Run, make: MakeFinished, target: Target
) -> None:
    first = publish(run.config, run.settings)
    other = changed(make("second", sections={"training": {"numTrainEpochs": 2}}))
    later = publish(other.config, other.settings)

    again = publish(run.config, run.settings)

    assert (again.reason, again.published) == (Reason.ALREADY_PUBLISHED, first.published)
    assert target.pulled("v1") == local(other)
    assert target.pulled(f"finetunejob-{run.id}") == local(run)
    assert later.reason is Reason.PUBLISHED


def test_a_run_that_is_to_have_another_tag_is_published_there_too(run: Run, target: Target, make: MakeFinished) -> None:
    publish(run.config, run.settings)
    renamed = make("second", place=target.place.replace(":v1", ":v2"))

    assert publish(renamed.config, renamed.settings).reason is Reason.PUBLISHED
    assert (target.pulled("v1"), target.pulled("v2")) == (local(run), local(renamed))


@pytest.mark.parametrize(("policy", "reason"), [("Skip", Reason.PUBLISH_SKIPPED), ("Fail", Reason.REPOSITORY_EXISTS)])
def test_a_model_of_another_run_keeps_the_tag_if_asked(
    run: Run, make: MakeFinished, target: Target, policy: str, reason: Reason
) -> None:
    publish(run.config, run.settings)
    before = target.manifest()
    other = with_if_exists(make("second", sections={"training": {"numTrainEpochs": 2}}), policy)

    found, message = outcome(lambda: publish(changed(other).config, other.settings))

    assert found is reason
    assert target.place in message
    assert target.manifest() == before


FOREIGN = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}


@pytest.mark.parametrize("role", [preflight, publish])
def test_a_tag_of_somebody_else_is_refused_and_left_alone(run: Run, target: Target, role: Any) -> None:  # noqa: ANN401
    from finetune_trainer.publish.registry import client

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "MEDIA_TYPE", FOREIGN["mediaType"])
        target.put("v1", json.dumps(FOREIGN).encode())

    assert outcome(lambda: role(run.config, run.settings)) == (
        Reason.WRITE_FORBIDDEN,
        f"publish.registry: {target.place} is something that no FinetuneJob has published; "
        "name another tag or path, or remove that tag first",
    )
    assert target.manifest() == FOREIGN


def test_a_model_that_gets_the_tag_meanwhile_is_told(run: Run, make: MakeFinished, target: Target) -> None:
    other = changed(make("second", sections={"training": {"numTrainEpochs": 2}}))

    def overtake(method: str, path: str) -> None:
        if (method, path) == ("PUT", f"/v2/{PATH}/manifests/v1"):
            target.front.after = lambda *_: None
            publish(other.config, other.settings)

    target.front.after = overtake
    reason, message = outcome(lambda: publish(run.config, run.settings))

    assert (reason, message) == (
        Reason.PUBLISH_CONFLICT,
        f"publish.registry: {target.place}: the model of run {other.id} got tag v1 meanwhile; "
        "wait until others have published",
    )
    assert publish(run.config, run.settings).reason is Reason.PUBLISHED
    assert target.pulled("v1") == local(run)


def test_what_the_gate_keeps_back_touches_no_registry(make: MakeFinished, target: Target) -> None:
    run = make("worse", evaluations=scores(baseline=0.9, final=0.5))

    assert publish(run.config, run.settings).reason is Reason.GATE_NOT_MET
    assert target.front.asked == []


def every(status: int, headers: dict[str, str], body: bytes) -> Callable[[BaseHTTPRequestHandler], Answer]:
    """Return the answer that is always the same."""
    return lambda _: (status, {"Content-Length": str(len(body)), **headers}, body)


def forgetful(request: BaseHTTPRequestHandler) -> Answer:
    """Take everything, and have nothing."""
    status = {"POST": 202, "PUT": 201}.get(request.command, 404)
    return status, {"Location": "/v2/upload", "Content-Length": "0"}, b""


@pytest.mark.parametrize("role", [preflight, publish])
@pytest.mark.parametrize(
    "answer",
    [
        every(200, {}, b"<html>welcome</html>"),
        every(200, {}, b"{}"),
        every(503, {}, b""),
        every(302, {"Location": "/v2/"}, b""),
    ],
    ids=["a page", "an empty object", "busy", "round and round"],
)
def test_a_registry_that_answers_nonsense_is_told_and_nothing_is_published(
    run: Run,
    target: Target,
    answer: Callable[[BaseHTTPRequestHandler], Answer],
    role: Any,  # noqa: ANN401 - of two
) -> None:
    target.front.answer = answer

    reason, message = outcome(lambda: role(run.config, run.settings))

    assert reason is Reason.HUB_UNAVAILABLE
    assert target.front.host in message
    assert not run.workspace.receipt.exists()


def test_a_registry_that_keeps_nothing_has_published_nothing(run: Run, target: Target) -> None:
    target.front.answer = forgetful

    assert outcome(lambda: publish(run.config, run.settings)) == (
        Reason.HUB_UNAVAILABLE,
        f"publish.registry: {target.place}: {target.front.host} answered that the model was stored with tag v1, and "
        "does not have all of it; look at what its logs say about it",
    )
    assert not run.workspace.receipt.exists()


def test_a_blob_that_is_lost_once_it_was_tagged_is_noticed(run: Run, target: Target) -> None:
    def lose(method: str, path: str) -> None:
        if (method, path) == ("PUT", f"/v2/{PATH}/manifests/v1"):
            target.registry.data_of(digest_of((run.workspace.model / "tokenizer.json").read_bytes())).unlink()

    target.front.after = lose
    reason, message = outcome(lambda: publish(run.config, run.settings))
    target.front.after = lambda *_: None

    assert reason is Reason.HUB_UNAVAILABLE
    assert "does not have all of it" in message
    assert publish(run.config, run.settings).reason is Reason.PUBLISHED
    assert target.pulled("v1") == local(run)


def basic(request: BaseHTTPRequestHandler) -> Answer | None:
    """Ask for the owner's password."""
    if request.headers.get("Authorization") == f"Basic {OWNER}":
        return None
    return 401, {"Www-Authenticate": 'Basic realm="registry"', "Content-Length": "0"}, b""


def bearer(request: BaseHTTPRequestHandler) -> Answer | None:
    """Ask for a token, for which its own service asks for the owner's password; each is for what was asked."""
    host, wanted = request.headers["Host"], "push" if request.command in ("POST", "PUT", "DELETE") else "pull"
    if request.path.startswith("/token"):
        body = json.dumps({"token": request.path.rpartition("scope=")[2]}).encode()
        is_known = request.headers.get("Authorization") == f"Basic {OWNER}"
        return (200, {"Content-Length": str(len(body))}, body) if is_known else (401, {"Content-Length": "0"}, b"")
    if request.headers.get("Authorization") == f"Bearer {wanted}":
        return None
    challenge = f'Bearer realm="http://{host}/token",service="registry",scope="{wanted}"'
    return 401, {"Www-Authenticate": challenge, "Content-Length": "0"}, b""


@pytest.mark.parametrize("door", [basic, bearer])
def test_a_login_opens_the_door_that_registries_have(
    run: Run, target: Target, door: Callable[[BaseHTTPRequestHandler], Answer | None]
) -> None:
    target.front.answer = door
    with_login(run, target.front.host)

    assert preflight(run.config, run.settings).reason is Reason.VALIDATED
    assert publish(run.config, run.settings).reason is Reason.PUBLISHED
    assert target.pulled("v1") == local(run)


@pytest.mark.parametrize("door", [basic, bearer])
def test_a_wrong_password_is_told_in_one_sentence_and_asked_once(
    run: Run, target: Target, door: Callable[[BaseHTTPRequestHandler], Answer | None]
) -> None:
    target.front.answer = door
    with_login(run, target.front.host, password="mistyped")

    assert outcome(lambda: preflight(run.config, run.settings)) == (
        Reason.TOKEN_REFUSED,
        f"publish.registry: {target.place}: {target.front.host} does not accept the login (401); "
        "put a valid one into the Secret of spec.publish.secretName",
    )
    assert len(target.front.asked) == 2


def test_without_a_login_the_secret_is_named(run: Run, target: Target) -> None:
    target.front.answer = basic

    assert outcome(lambda: preflight(run.config, run.settings)) == (
        Reason.TOKEN_REFUSED,
        f"publish.registry: {target.place}: {target.front.host} asks for a login (401); "
        "name a Secret of type kubernetes.io/dockerconfigjson in spec.publish.secretName",
    )


def test_a_login_that_may_only_read_is_told_before_anything_is_fetched(run: Run, target: Target) -> None:
    denied = b'{"errors": [{"code": "DENIED", "message": "no"}]}'
    answers = {"POST": (403, {"Content-Length": str(len(denied))}, denied)}
    target.front.answer = lambda request: basic(request) or answers.get(request.command)
    with_login(run, target.front.host)

    assert outcome(lambda: preflight(run.config, run.settings)) == (
        Reason.WRITE_FORBIDDEN,
        f"publish.registry: {target.place}: this login may not do that (403 DENIED); "
        "give it the right to, or name another in spec.publish.secretName",
    )


def test_a_secret_of_another_kind_or_host_is_told_with_how_to_make_one(run: Run, target: Target) -> None:
    make = f"make it with `kubectl create secret docker-registry NAME --docker-server={target.front.host}`"
    write_secret(run.settings.write_bucket, {"AWS_ACCESS_KEY_ID": "x"})
    kind = outcome(lambda: preflight(run.config, run.settings))
    with_login(run, "https://other.example/v1/")
    host = outcome(lambda: preflight(run.config, run.settings))

    start = "spec.publish.secretName: the Secret has"
    assert kind == (Reason.TOKEN_REFUSED, f"{start} no .dockerconfigjson with logins; {make}")
    assert host == (
        Reason.TOKEN_REFUSED,
        f"{start} a login for other.example, and none for {target.front.host}; {make}",
    )


def test_neither_the_password_nor_its_form_on_the_way_is_in_a_log(run: Run) -> None:
    with_login(run, "registry.example")

    assert login_secrets(run.settings.write_bucket) == ["secret-of-the-owner", OWNER]


def test_preflight_begins_an_upload_and_gives_it_up(run: Run, target: Target) -> None:
    assert outcome(lambda: preflight(run.config, run.settings)) == (
        Reason.VALIDATED,
        f"The login may write to {target.place}.",
    )
    assert target.registry.tags(PATH) == []
    assert [one.partition(" ")[0] for one in target.front.asked] == ["GET", "POST", "DELETE"]


def test_a_run_that_is_in_the_registry_is_believed_as_far_as_it_is_there(
    run: Run, make: MakeFinished, target: Target
) -> None:
    done = publish(run.config, run.settings)
    again = make("second")

    preflight(again.config, again.settings)
    found = PublishedRuns.read(again.settings.published_runs)

    assert done.published is not None
    end = published_before(found.runs[run.id])
    assert (end.reason, end.published, end.evaluations) == (Reason.ALREADY_PUBLISHED, done.published, scores())

    target.registry.data_of(digest_of((run.workspace.model / "tokenizer.json").read_bytes())).unlink()
    preflight(again.config, again.settings)
    found = PublishedRuns.read(again.settings.published_runs)

    assert found.runs == {}
    assert found.doubts == {
        run.id: f"tag finetunejob-{run.id} beside {target.place} is not what was published, so that it is trained"
    }


def test_a_file_is_streamed_however_large_it_is(registry: RunningRegistry, tmp_path: Path) -> None:
    large, size = tmp_path / "large", 64 * 2**20
    large.touch()
    os.truncate(large, size)
    with large.open("rb") as file:
        digest = sha256()
        while block := file.read(2**20):
            digest.update(block)
    blob = Descriptor(media_type="application/octet-stream", digest=f"sha256:{digest.hexdigest()}", size=size)
    client = Client(Artifact(registry.host, PATH, "v1"), None)

    tracemalloc.start()
    client.store(blob, large)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert client.has(blob)
    assert most_bytes < size / 8


def test_a_registry_with_a_certificate_of_the_company_is_trusted_by_its_file(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry
    certified = certify(tmp_path, ["localhost"])
    monkeypatch.setattr(Artifact, "is_loopback", False)
    with running_registry(tmp_path, certificate=(certified.certificate, certified.key)) as server:
        artifact = Artifact(server.host.replace("127.0.0.1", "localhost"), PATH, "v1")
        with pytest.raises(RunFailure) as failed:
            Client(artifact, None).check_writing()
        monkeypatch.setenv("SSL_CERT_FILE", str(certified.authority))
        trusting = Client(artifact, None)

        trusting.check_writing()

        assert trusting.tags() == []
    assert failed.value.reason is Reason.HUB_UNAVAILABLE
    assert f"the certificate of {artifact.host} is not trusted" in failed.value.message


def test_all_pages_of_tags_are_read(registry: RunningRegistry, front: Front) -> None:
    pages = {
        f"/v2/{PATH}/tags/list": (["a", "b"], f"/v2/{PATH}/tags/list?last=b"),
        f"/v2/{PATH}/tags/list?last=b": (["c"], None),
    }

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        tags, following = pages[request.path]
        body = json.dumps({"tags": tags}).encode()
        link = {} if following is None else {"Link": f'<{following}>; rel="next"'}
        return 200, {"Content-Length": str(len(body)), **link}, body

    assert registry
    front.answer = answer

    assert Client(Artifact(front.host, PATH, "v1"), None).tags() == ["a", "b", "c"]
