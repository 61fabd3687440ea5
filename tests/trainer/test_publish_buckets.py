"""publish into a bucket of a real S3 server: whole or not at all, once, and beside those of others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import ObjectStore

from finetune_api.contract import RunResult
from finetune_api.reasons import Reason
from finetune_api.status import PublishedStatus
from finetune_trainer.hub.published import PublishedRuns
from finetune_trainer.prepare.prepare import published_before
from finetune_trainer.publish.bucket import publishing
from finetune_trainer.publish.bucket.models import replace_index
from finetune_trainer.publish.bucket.storing import part_bytes
from finetune_trainer.publish.preflight import preflight
from finetune_trainer.publish.publish import publish
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import hash_files
from tests.s3 import RunningS3
from tests.trainer.conftest import MakeRun, Run, write_secret
from tests.trainer.publishing import finished_run, make_run_in, scores, with_if_exists

MakeFinished = Callable[..., Run]

BUCKET = "s3://company/models/pages"
INDEX = "models/pages/finetunejobs.json"
#: The model's, and what tells of it.
NUM_FILES = 11


@pytest.fixture
def store(s3: RunningS3) -> ObjectStore:
    store = s3.make_bucket("company")
    s3.log.write_text("")
    return store


@pytest.fixture
def make(tmp_path: Path, small_model: Path, s3: RunningS3, store: ObjectStore) -> MakeFinished:
    """Return what makes a run with a trained model that goes into the bucket, in a folder of its own."""

    def make(name: str, **more: Any) -> Run:  # noqa: ANN401 - as finished_run
        return finished(make_run_in(tmp_path / name), small_model, s3, **more)

    return make


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PAUSES", (0.0, 0.0))


@pytest.fixture
def run(make: MakeFinished) -> Run:
    return make("first")


def finished(make_run: MakeRun, model: Path, s3: RunningS3, **more: Any) -> Run:  # noqa: ANN401 - as finished_run
    """Return a run with a trained model that goes into the bucket."""
    where: dict[str, Any] = {"repository": None, "tokenSecret": None, "bucket": BUCKET, "secretName": "company-s3"}
    run = finished_run(make_run, model, **where, **more).with_bucket(write=s3.settings())
    own = {"sources": {}, "run": run.id}
    InputsManifest.read(run.workspace.manifest).model_copy(update=own).write(run.workspace.manifest)
    return run


def changed(run: Run) -> Run:
    """Let the run have trained another model."""
    (run.workspace.model / "tokenizer.json").write_text('{"another": "one"}')
    report = Report.read(run.workspace.report)
    report.model_copy(update={"files": hash_files(run.workspace.model)}).write(run.workspace.report)
    return run


def models(store: ObjectStore) -> list[dict[str, Any]]:
    """Return what the bucket says that it has."""
    try:
        return list(json.loads(bytes(obstore.get(store, INDEX).bytes()))["models"])
    except FileNotFoundError:
        return []


def objects(store: ObjectStore, folder: str) -> dict[str, bytes]:
    start = f"models/pages/{folder}/"
    found = [meta["path"] for meta in obstore.list(store, start).collect()]
    return {path.removeprefix(start): bytes(obstore.get(store, path).bytes()) for path in sorted(found)}


def local(run: Run) -> dict[str, bytes]:
    """Return what there is to publish, once publish has written what tells of it."""
    folders = (run.workspace.model, run.workspace.receipt.parent)
    found = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*")}
    return {name: path.read_bytes() for name, path in found.items() if path.is_file() and name != "receipt.json"}


def written(s3: RunningS3) -> list[str]:
    """Return the objects that were written since the log was emptied."""
    return [entry.partition(" ")[2] for entry in s3.requests() if entry.startswith("PutObject ")]


def test_a_model_is_stored_in_a_folder_of_its_own_and_named_last(run: Run, s3: RunningS3, store: ObjectStore) -> None:
    result = publish(run.config, run.settings)

    (model,) = models(store)
    folder = model["folder"]
    stored = objects(store, folder)
    assert stored == local(run)
    assert len(stored) == NUM_FILES
    assert (model["run"], folder) == (run.id, f"{run.id}-{model['commit'][:8]}")
    assert written(s3) == [*(f"models/pages/{folder}/{name}" for name in sorted(stored)), INDEX]
    status = PublishedStatus(repository=BUCKET, commit=model["commit"], url=f"{BUCKET}/{folder}")
    assert (result.reason, result.message, result.published) == (
        Reason.PUBLISHED,
        f"Published as {BUCKET}/{folder}.",
        status,
    )
    assert PublishedStatus.model_validate_json(run.workspace.receipt.read_bytes()) == status


def test_a_second_run_finds_the_model_and_writes_nothing(run: Run, s3: RunningS3, store: ObjectStore) -> None:
    first = publish(run.config, run.settings)
    s3.log.write_text("")

    second = publish(run.config, run.settings)

    assert (second.reason, second.published) == (Reason.ALREADY_PUBLISHED, first.published)
    assert written(s3) == []


def test_a_server_that_lists_tags_without_quotes_has_the_model_all_the_same(
    run: Run, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(run.config, run.settings)
    real = obstore.list

    def bare_tags(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 - handed on
        return [[meta | {"e_tag": meta["e_tag"].strip('"')} for meta in page] for page in real(*arguments, **named)]

    monkeypatch.setattr(obstore, "list", bare_tags)

    assert publish(run.config, run.settings).reason is Reason.ALREADY_PUBLISHED
    assert all('"' not in file["eTag"] for file in models(store)[0]["files"])


def test_what_a_later_release_tells_in_the_list_stays(run: Run, store: ObjectStore) -> None:
    publish(run.config, run.settings)
    (first,) = models(store)
    later: dict[str, Any] = first | {"later": 1, "job": first["job"] | {"cluster": "c"}}
    later["files"] = [file | {"kept": True} for file in first["files"]]
    obstore.put(store, INDEX, json.dumps({"models": [later], "format": 2}).encode())

    publish(changed(run).config, run.settings)

    index = json.loads(bytes(obstore.get(store, INDEX).bytes()))
    newest, oldest = index.pop("models")
    assert (index, oldest) == ({"format": 2}, later)
    assert newest["commit"] != first["commit"]


def test_a_model_is_sent_in_small_parts_to_a_server_that_may_say_nothing_for_long(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sent = obstore.put, list[tuple[str, int]]()

    def put(store: Any, path: str, content: Any, **named: Any) -> object:  # noqa: ANN401 - handed on
        if path.endswith(".safetensors"):
            sent.append((store.client_options["read_timeout"], named["chunk_size"]))
        return real(store, path, content, **named)

    monkeypatch.setattr(obstore, "put", put)
    publish(run.config, run.settings)

    assert sent == [("10m", 8 * 2**20)]


def test_large_objects_are_sent_in_as_many_parts_as_a_server_takes() -> None:
    mib, tib = 2**20, 2**40

    assert [part_bytes(size) for size in (1, 70 * 1000 * mib)] == [8 * mib, 8 * mib]
    assert -(-5 * tib // part_bytes(5 * tib)) <= 9000


def test_another_model_of_the_run_is_the_newest_one_and_the_first_stays(run: Run, store: ObjectStore) -> None:
    publish(run.config, run.settings)
    (first,) = models(store)
    before = objects(store, first["folder"])

    result = publish(changed(run).config, run.settings)

    newest, oldest = models(store)
    assert result.published is not None
    assert (newest["commit"], oldest) == (result.published.commit, first)
    assert objects(store, first["folder"]) == before


@pytest.mark.parametrize("is_done", [False, True], ids=["before it is done", "after it is done"])
@pytest.mark.parametrize("writes", range(NUM_FILES + 1))
def test_whenever_it_is_cut_off_nothing_half_counts_and_the_next_try_makes_one_whole_model(
    run: Run, store: ObjectStore, *, writes: int, is_done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = obstore.put, iter(range(writes))

    def put(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 - handed on
        is_cut = next(left, None) is None
        if is_cut and not is_done:
            raise GenericError("cut")
        answer = real(*arguments, **named)
        if is_cut:
            raise GenericError("cut")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(obstore, "put", put)
        with pytest.raises(RunFailure) as cut:
            publish(run.config, run.settings)
    half = models(store)

    again = publish(run.config, run.settings)

    was_last = writes == NUM_FILES and is_done
    assert cut.value.reason is Reason.HUB_UNAVAILABLE
    assert len(half) == (1 if was_last else 0)
    assert again.reason is (Reason.ALREADY_PUBLISHED if was_last else Reason.PUBLISHED)
    (model,) = models(store)
    assert objects(store, model["folder"]) == local(run)


def test_of_two_jobs_that_publish_at_once_both_models_are_named(
    run: Run, make: MakeFinished, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = changed(make("second"))
    real = replace_index
    ahead = iter([other])

    def overtaken(*arguments: Any, **named: Any) -> None:  # noqa: ANN401 - handed on
        if (first := next(ahead, None)) is not None:
            publish(first.config, first.settings)
        real(*arguments, **named)

    monkeypatch.setattr(publishing, "replace_index", overtaken)
    result = publish(run.config, run.settings)

    assert result.published is not None
    assert len(models(store)) == 2
    assert models(store)[0]["commit"] == result.published.commit
    assert "another model came in while publishing; this run's is the newest" in result.warnings


def test_others_that_keep_publishing_are_told(run: Run, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = replace_index

    def overtaken(bucket: Any, index: Any, *, version: Any) -> None:  # noqa: ANN401 - handed on
        obstore.put(store, INDEX, b'{"models": []}' + b" " * len(obstore.list(store).collect()))
        obstore.put(store, f"noise-{len(obstore.list(store).collect())}", b"")
        real(bucket, index, version=version)

    monkeypatch.setattr(publishing, "replace_index", overtaken)
    with pytest.raises(RunFailure) as failed:
        publish(run.config, run.settings)

    assert (failed.value.reason, failed.value.message) == (
        Reason.PUBLISH_CONFLICT,
        f"publish.bucket: {BUCKET}: others keep publishing there; wait until they end",
    )


def test_what_comes_back_with_other_bytes_is_not_named(
    run: Run, s3: RunningS3, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = obstore.put

    def rotten(at: Any, path: str, content: Any, **named: Any) -> object:  # noqa: ANN401 - handed on
        answer = real(at, path, content, **named)
        if path.endswith(".safetensors"):
            file = s3.folder / "company" / path
            file.write_bytes(file.read_bytes()[:-1] + b"?")
        return answer

    monkeypatch.setattr(obstore, "put", rotten)
    with pytest.raises(RunFailure) as failed:
        publish(run.config, run.settings)

    assert failed.value.reason is Reason.HUB_UNAVAILABLE
    assert "answered that model.safetensors was written, and gives back other bytes" in failed.value.message
    assert models(store) == []


def test_what_the_gate_keeps_back_touches_no_bucket(make: MakeFinished, s3: RunningS3) -> None:
    run = make("worse", evaluations=scores(baseline=0.9, final=0.5))

    result = publish(run.config, run.settings)

    assert result.reason is Reason.GATE_NOT_MET
    assert s3.requests() == []


@pytest.mark.parametrize(("policy", "reason"), [("Skip", Reason.PUBLISH_SKIPPED), ("Fail", Reason.REPOSITORY_EXISTS)])
def test_a_model_of_another_run_is_left_the_newest_if_asked(
    run: Run, make: MakeFinished, store: ObjectStore, policy: str, reason: Reason
) -> None:
    publish(run.config, run.settings)
    before = models(store)
    other = with_if_exists(make("second", sections={"training": {"numTrainEpochs": 2}}), policy)

    found, message = outcome(lambda: publish(changed(other).config, other.settings))

    assert found is reason
    assert BUCKET in message
    assert "repository" not in message
    assert models(store) == before


def outcome(work: Callable[[], RunResult]) -> tuple[Reason, str]:
    try:
        result = work()
    except RunFailure as failure:
        return failure.reason, failure.message
    return result.reason, result.message


def test_preflight_proves_that_the_bucket_may_be_written_and_heeds_conditions(run: Run, store: ObjectStore) -> None:
    assert outcome(lambda: preflight(run.config, run.settings)) == (
        Reason.VALIDATED,
        f"The keys may write to {BUCKET}.",
    )
    assert json.loads(bytes(obstore.get(store, INDEX).bytes())) == {"models": []}


SECRET = "the Secret of spec.publish.secretName"


@pytest.mark.parametrize(
    ("settings", "bucket", "told"),
    [
        (
            {"AWS_ACCESS_KEY_ID": "guest", "AWS_SECRET_ACCESS_KEY": "secret-of-the-guest"},
            BUCKET,
            (
                Reason.WRITE_FORBIDDEN,
                f"these keys may not do that (403 AccessDenied); give them the right to, or put others into {SECRET}",
            ),
        ),
        (
            {"AWS_SECRET_ACCESS_KEY": "mistyped"},
            BUCKET,
            (
                Reason.TOKEN_REFUSED,
                f"{{endpoint}} does not accept the keys (403 SignatureDoesNotMatch); put valid ones into {SECRET}",
            ),
        ),
        (
            {},
            "s3://another/models",
            (
                Reason.WRITE_FORBIDDEN,
                f"{{endpoint}} has no bucket another; correct its name, or the endpoint in {SECRET}",
            ),
        ),
    ],
    ids=["no right", "a wrong secret", "no such bucket"],
)
def test_a_bucket_that_cannot_be_written_is_told_before_anything_is_fetched(
    run: Run, s3: RunningS3, settings: dict[str, str], bucket: str, told: tuple[Reason, str]
) -> None:
    reason, because = told
    s3.add_guest()
    write_secret(run.settings.write_bucket, s3.settings(**settings))
    spec = run.config.spec
    assert spec.publish is not None
    there = spec.model_copy(update={"publish": spec.publish.model_copy(update={"bucket": bucket})})

    found = outcome(lambda: preflight(run.config.model_copy(update={"spec": there}), run.settings))

    assert found == (reason, f"publish.bucket: {bucket}: {because.format(endpoint=s3.endpoint)}")


def test_a_server_that_heeds_no_conditions_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = obstore.put
    monkeypatch.setattr(obstore, "put", lambda *given, **named: real(*given, **{**named, "mode": None}))

    reason, message = outcome(lambda: preflight(run.config, run.settings))

    assert reason is Reason.WRITE_FORBIDDEN
    assert "does not heed If-Match: models could get lost; name a bucket of one that does" in message


def test_something_else_of_the_name_of_the_list_is_refused(run: Run, store: ObjectStore) -> None:
    obstore.put(store, INDEX, b"mine")

    assert outcome(lambda: preflight(run.config, run.settings)) == (
        Reason.WRITE_FORBIDDEN,
        f"publish.bucket: {BUCKET}/finetunejobs.json is no list of models; name another path",
    )


def test_a_run_that_is_in_the_bucket_is_believed_as_far_as_it_is_there(
    run: Run, make: MakeFinished, store: ObjectStore
) -> None:
    done = publish(run.config, run.settings)
    again = make("second")

    preflight(again.config, again.settings)
    found = PublishedRuns.read(again.settings.published_runs)

    assert done.published is not None
    end = published_before(found.runs[run.id])
    assert (end.reason, end.published, end.evaluations) == (Reason.ALREADY_PUBLISHED, done.published, scores())
    assert end.message.startswith(f"Published before as {done.published.url}; nothing is trained.")

    obstore.delete(store, f"{str(done.published.url).removeprefix('s3://company/')}/config.json")
    preflight(again.config, again.settings)
    found = PublishedRuns.read(again.settings.published_runs)

    assert found.runs == {}
    assert found.doubts == {run.id: f"{done.published.url} is not what was published there, so that it is trained"}
    assert publish(run.config, run.settings).reason is Reason.PUBLISHED
