"""Models and datasets in buckets, against a real S3 server."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import ObjectStore

from finetune_api.reasons import Reason
from finetune_trainer.hub.client import connect
from finetune_trainer.prepare.fetch import sources as fetching
from finetune_trainer.prepare.fetch.objects import Listing
from finetune_trainer.prepare.fetch.sources import DATASET, MODEL, Sources
from finetune_trainer.prepare.fetch.split_files import Split
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import InputsManifest
from tests.s3 import RunningS3
from tests.trainer.conftest import MakeRun, write_jsonl, write_secret

BASE, PAGES = "s3://company/models/base", "s3://company/pages/2026=11/"
TRAIN: dict[Split, int | None] = {(None, "train"): None}
ROWS = [{"query": f"question {row}", "positive": f"answer {row}"} for row in range(40)]
ONE_ROW = b'{"query": "a", "positive": "b"}\n'


@pytest.fixture
def store(s3: RunningS3, tmp_path: Path) -> ObjectStore:
    """A bucket with a model and a dataset of two splits."""
    store = s3.make_bucket("company")
    for name in ("model.safetensors", "pytorch_model.bin", "1_Pooling/config.json"):
        obstore.put(store, f"models/base/{name}", name.encode())
    for split in ("train", "test"):
        write_jsonl(tmp_path / "rows" / f"{split}.jsonl", ROWS)
    s3.upload(tmp_path / "rows", store, "pages/2026=11")
    s3.log.write_text("")
    return store


@pytest.fixture
def sources(s3: RunningS3, store: ObjectStore, tmp_path: Path) -> Sources:
    write_secret(tmp_path / "secret", s3.settings())
    hub = connect("http://127.0.0.1:9", token=None)
    return Sources(api=hub, mounts=tmp_path, secret=tmp_path / "secret", scratch=tmp_path / "scratch")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetched(s3: RunningS3) -> list[str]:
    """Return the objects that were fetched."""
    return [entry.removeprefix("GetObject ") for entry in s3.requests() if entry.startswith("GetObject ")]


def test_model_and_rows_come_out_of_buckets(
    make_run: MakeRun, s3: RunningS3, store: ObjectStore, text_model: Path
) -> None:
    s3.upload(text_model, store, "models/small")
    data = {"train": [{"name": "qa", "source": PAGES}]}
    run = make_run(model={"source": "s3://company/models/small"}, data=data).with_bucket(read=s3.settings())

    result = prepare(run.config, run.settings)

    assert [dataset.rows for dataset in result.datasets] == [40]
    files = contents(run.workspace.base_model)
    assert files == {name: content for name, content in contents(text_model).items() if name in files}
    assert "model.safetensors" in files
    manifest = InputsManifest.read(run.workspace.manifest)
    assert manifest.sources["spec.model"] == (result.model and result.model.revision)


def test_a_revision_is_a_hash_of_names_sizes_and_etags(sources: Sources, store: ObjectStore) -> None:
    lines = [
        f"{one['size']} {one['e_tag']}  {Path(one['path']).name}\n" for one in obstore.list(store, "pages").collect()
    ]

    assert sources.resolve(DATASET, PAGES, revision="main") == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_of_a_model_only_what_is_loaded_is_fetched_and_counts(
    sources: Sources, store: ObjectStore, s3: RunningS3, tmp_path: Path
) -> None:
    commit = sources.resolve(MODEL, BASE, revision="main")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "of another.json").touch()

    sources.fetch_model(BASE, commit=commit, folder=tmp_path / "model")

    assert contents(tmp_path / "model") == {
        name: name.encode() for name in ("model.safetensors", "1_Pooling/config.json")
    }
    obstore.put(store, "models/base/pytorch_model.bin", b"another")
    assert sources.resolve(MODEL, BASE, revision="main") == commit


def test_a_model_lies_once_on_a_volume_that_has_links_and_is_copied_elsewhere(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = sources.resolve(MODEL, BASE, revision="main")
    first = sources.fetch_model(BASE, commit=commit, folder=tmp_path / "one").folder / "model.safetensors"
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    second = sources.fetch_model(BASE, commit=commit, folder=tmp_path / "two").folder / "model.safetensors"

    assert (first.stat().st_nlink, second.stat().st_nlink) == (2, 1)
    assert first.read_bytes() == second.read_bytes()


def test_only_the_splits_that_are_named_are_fetched_and_only_once(sources: Sources, s3: RunningS3) -> None:
    commit = sources.resolve(DATASET, PAGES, revision="main")
    folders = {sources.fetch_dataset(PAGES, commit=commit, splits=TRAIN).folder for _ in range(2)}

    assert fetched(s3) == ["pages/2026=11/train.jsonl"]
    (folder,) = folders
    assert {name: len(content.splitlines()) for name, content in contents(folder).items()} == {
        "train.jsonl": 40,
        "test.jsonl": 0,
    }


def test_tags_that_are_listed_without_quotes_are_asked_for_with_them(
    sources: Sources, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_list, real_get, asked = obstore.list, obstore.get, list[dict[str, str]]()

    def bare(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 - handed on
        return [
            [meta | {"e_tag": meta["e_tag"].strip('"')} for meta in page] for page in real_list(*arguments, **named)
        ]

    def get(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 - handed on
        asked.append(named["options"])
        return real_get(*arguments, **named)

    tags = {meta["path"]: meta["e_tag"] for meta in real_list(store, "pages").collect()}
    monkeypatch.setattr(obstore, "list", bare)
    monkeypatch.setattr(obstore, "get", get)
    sources.fetch_dataset(PAGES, commit=sources.resolve(DATASET, PAGES, revision="main"), splits=TRAIN)

    assert asked == [{"if_match": tags["pages/2026=11/train.jsonl"]}]


def test_what_was_cut_off_is_fetched_again(sources: Sources, s3: RunningS3) -> None:
    commit = sources.resolve(DATASET, PAGES, revision="main")
    file = sources.fetch_dataset(PAGES, commit=commit, splits=TRAIN).folder / "train.jsonl"
    whole = file.read_bytes()
    file.rename(file.with_name("train.jsonl.partial"))

    sources.fetch_dataset(PAGES, commit=commit, splits=TRAIN)

    assert file.read_bytes() == whole
    assert fetched(s3) == ["pages/2026=11/train.jsonl"] * 2


def test_a_path_may_be_that_of_one_object(sources: Sources) -> None:
    source = "s3://company/pages/2026=11/train.jsonl"
    commit = sources.resolve(DATASET, source, revision="main")

    assert list(contents(sources.fetch_dataset(source, commit=commit, splits=TRAIN).folder)) == ["train.jsonl"]


def test_empty_objects_that_stand_for_folders_are_no_files(sources: Sources, s3: RunningS3) -> None:
    before = sources.resolve(DATASET, "s3://company", revision="main")
    (s3.folder / "company" / "empty").mkdir()

    assert sources.resolve(DATASET, "s3://company", revision="main") == before


def test_a_revision_that_is_named_has_to_be_there(sources: Sources, store: ObjectStore) -> None:
    before = sources.resolve(DATASET, PAGES, revision="main")
    assert sources.resolve(DATASET, PAGES, revision=before) == before
    obstore.put(store, "pages/2026=11/train.jsonl", ONE_ROW)
    now = sources.resolve(DATASET, PAGES, revision="main")

    with pytest.raises(RunFailure) as refused:
        sources.resolve(DATASET, PAGES, revision=before)

    assert (refused.value.reason, refused.value.message) == (
        Reason.DATASET_NOT_FOUND,
        f"s3://company/pages/2026=11 is at revision {now}, and not at {before} any more; "
        "name that one, or leave it out",
    )


def before_listing(real: Callable[..., Any], change: Callable[[], object]) -> Callable[..., Any]:
    """Return a function that changes something, and then does what it did."""

    def overtaken(*arguments: object, **named: object) -> object:
        change()
        return real(*arguments, **named)

    return overtaken


@pytest.mark.parametrize("change", ["written anew", "removed"])
@pytest.mark.parametrize("step", ["list_objects", "fetch"])
def test_what_changes_while_it_is_fetched_is_noticed_and_tried_again(
    sources: Sources, store: ObjectStore, step: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = sources.resolve(DATASET, PAGES, revision="main")
    name = "pages/2026=11/train.jsonl"
    place: Any = fetching if step == "list_objects" else Listing

    def harm() -> None:
        if change == "removed":
            obstore.delete(store, name)
        else:
            obstore.put(store, name, ONE_ROW)

    monkeypatch.setattr(place, step, before_listing(getattr(place, step), harm))
    with pytest.raises(RunFailure) as failed:
        sources.fetch_dataset(PAGES, commit=commit, splits=TRAIN)

    assert (failed.value.reason, failed.value.message) == (
        Reason.HUB_UNAVAILABLE,
        "s3://company/pages/2026=11 was changed while it was fetched; wait until it stays as it is",
    )


#: What is wrong, the source, the settings, and what is told: reason and sentence.
WRONG: dict[str, tuple[str, dict[str, str], Reason, str]] = {
    "no such bucket": (
        "s3://another/rows",
        {},
        Reason.DATASET_NOT_FOUND,
        "{endpoint} has no bucket another; correct its name, or the endpoint in {secret}",
    ),
    "nothing there": (
        "s3://company/rows",
        {},
        Reason.DATASET_NOT_FOUND,
        "there is nothing; name a path with files below it",
    ),
    "an unknown key": (
        "s3://company/pages",
        {"AWS_ACCESS_KEY_ID": "stranger"},
        Reason.TOKEN_REFUSED,
        "{endpoint} does not accept the keys (403 InvalidAccessKeyId); put valid ones into {secret}",
    ),
    "a wrong secret": (
        "s3://company/pages",
        {"AWS_SECRET_ACCESS_KEY": "mistyped"},
        Reason.TOKEN_REFUSED,
        "{endpoint} does not accept the keys (403 SignatureDoesNotMatch); put valid ones into {secret}",
    ),
    "another region": (
        "s3://company/pages",
        {"AWS_REGION": "us-east-1"},
        Reason.DATASET_NOT_FOUND,
        'the bucket is in another region (The authorization header is malformed; the region "us-east-1" is wrong; '
        'expecting "eu-test-1"); set AWS_REGION in {secret} to its own',
    ),
    "no right": (
        "s3://company/pages",
        {"AWS_ACCESS_KEY_ID": "guest", "AWS_SECRET_ACCESS_KEY": "secret-of-the-guest"},
        Reason.DATASET_NOT_FOUND,
        "these keys may not do that (403 AccessDenied); give them the right to, or put others into {secret}",
    ),
    "no server": (
        "s3://company/pages",
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        Reason.HUB_UNAVAILABLE,
        "http://127.0.0.1:9 did not answer as it should (Connection refused); wait, or correct the endpoint in "
        "{secret}",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line_with_what_to_do(
    case: str, sources: Sources, s3: RunningS3, tmp_path: Path
) -> None:
    source, changes, reason, because = WRONG[case]
    s3.add_guest()
    write_secret(tmp_path / "secret", s3.settings(**changes))

    with pytest.raises(RunFailure) as refused:
        sources.resolve(DATASET, source, revision="main")

    told = because.format(endpoint=s3.endpoint, secret="the Secret of spec.buckets.secretName")
    assert (refused.value.reason, refused.value.message) == (reason, f"reading {source}: {told}")


def test_without_keys_only_what_is_public_is_read(sources: Sources, s3: RunningS3, tmp_path: Path) -> None:
    settings = s3.settings()
    (tmp_path / "public").mkdir()
    for name in ("AWS_REGION", "AWS_ENDPOINT_URL"):
        (tmp_path / "public" / name).write_text(settings[name])
    anonymous = Sources(api=sources.api, mounts=tmp_path, secret=tmp_path / "public", scratch=tmp_path / "scratch")

    with pytest.raises(RunFailure) as refused:
        anonymous.resolve(DATASET, PAGES, revision="main")

    assert (refused.value.reason, refused.value.message) == (
        Reason.DATASET_NOT_FOUND,
        "reading s3://company/pages/2026=11: it may not be used without keys (403 AccessDenied); name a Secret with "
        "keys in spec.buckets.secretName",
    )
