"""prepare: hard negatives are those that the library would find, on texts and on image paths."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from finetune_api.datasets import MinedNegatives
from finetune_api.reasons import Reason
from finetune_trainer.prepare.layout.examples import Example
from finetune_trainer.prepare.mining.embedding_cache import EmbeddingCache, Floats, Role
from finetune_trainer.prepare.mining.miners import Encoding
from finetune_trainer.prepare.mining.mining import Miner
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.manifest import Column, InputsManifest, Modality
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl, write_pages
from tests.trainer.laying_out import kept, read

COLUMNS = [Column(name="query", modality="text"), Column(name="positive", modality="text")]
TOPICS = ["cats", "dogs", "red wine", "white wine", "trains", "ships", "rain", "snow"]
VERBS = ["like", "fear", "collect", "paint"]
PAIRS = [(f"who does {verb} {topic}", f"people who {verb} {topic}") for topic in TOPICS for verb in VERBS]
#: A query may have several answers, and an answer several queries.
PAIRS += [("who does like cats", "friends of cats"), ("do cats have friends", "friends of cats")]


@pytest.fixture(scope="module")
def model(text_model: Path) -> SentenceTransformer:
    return SentenceTransformer(str(text_model), device="cpu", local_files_only=True)


def miner(folder: Path, encode: Any, similarity: Any, **settings: Any) -> Miner:  # noqa: ANN401 - of several kinds
    return Miner(MinedNegatives(**settings), EmbeddingCache(folder, "model", encode), similarity, seed=1)


def examples(pairs: Sequence[tuple[str, str]]) -> list[Example]:
    return [Example(query, [document]) for query, document in pairs]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_negatives": 2, "range_min": 3},
        {"num_negatives": 2, "range_min": 1, "range_max": 4},
        {"num_negatives": 4, "max_score": 0.5, "min_score": 0.2},
        {"num_negatives": 2, "absolute_margin": 0.2},
        {"num_negatives": 3, "relative_margin": 0.3, "range_max": 12},
        {"num_negatives": 30, "range_max": 40},
    ],
)
def test_the_closest_negatives_are_those_of_the_library(
    tmp_path: Path, model: SentenceTransformer, settings: dict[str, Any]
) -> None:
    given = Dataset.from_dict({"query": [query for query, _ in PAIRS], "positive": [answer for _, answer in PAIRS]})
    expected = mine_hard_negatives(
        given, model, output_format="n-tuple", verbose=False, **{"num_negatives": 3, **settings}
    )
    encode = Encoding(model, InputReader(KeptImages(tmp_path), ["text"]), batch_size=8)

    found = miner(tmp_path, encode, model.similarity, **settings)(examples(PAIRS), COLUMNS)

    # The library puts the answers of a query together.
    rows = {(one.query, one.documents[0], *one.negatives) for one in found}
    assert rows == {tuple(row.values()) for row in expected}
    assert len(found) == len(expected)


def vectors(cells: Sequence[str], modality: Modality, role: Role) -> Floats:
    """Return a direction per text: the number in it, in degrees."""
    angles = np.deg2rad([float(cell.rpartition(" ")[2]) for cell in cells])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def cosine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return one @ other.T


def test_random_negatives_are_the_same_for_one_seed_and_only_among_the_candidates(tmp_path: Path) -> None:
    pairs = [(f"query {degree}", f"document {degree}") for degree in range(40)]
    settings = {"num_negatives": 3, "range_max": 8, "sampling_strategy": "random"}

    first, again = (miner(tmp_path, vectors, cosine, **settings)(examples(pairs), COLUMNS) for _ in range(2))

    assert first == again
    distances = [
        sorted(abs(float(negative.split()[1]) - degree) for negative in one.negatives)
        for degree, one in enumerate(first)
    ]
    assert max(max(one) for one in distances) <= 8
    assert distances[20] != [1.0, 1.0, 2.0]


def test_no_answer_of_a_query_is_a_negative_whichever_row_it_comes_from(tmp_path: Path) -> None:
    pairs = [("query 0", "document 1"), ("query 0", "document 2"), ("query 0", "document 3"), ("query 50", "page 4")]

    found = miner(tmp_path, vectors, cosine, num_negatives=1)(examples(pairs), COLUMNS)

    assert [list(one.negatives) for one in found] == [["page 4"], ["page 4"], ["page 4"], ["document 3"]]


def test_no_query_is_a_negative_of_its_own(tmp_path: Path) -> None:
    pairs = [("query 0", "page 9"), ("query 1", "query 0"), ("query 40", "page 45")]

    found = miner(tmp_path, vectors, cosine, num_negatives=1)(examples(pairs), COLUMNS)

    assert [list(one.negatives) for one in found] == [["page 45"], ["page 9"], ["page 9"]]


def test_a_killed_prepare_goes_on_where_it_was(tmp_path: Path) -> None:
    encoded: list[int] = []

    def counted(cells: Sequence[str], modality: Modality, role: Role) -> Floats:
        encoded.append(len(cells))
        if len(encoded) == 2:
            raise KeyboardInterrupt
        return vectors(cells, modality, role)

    cells = [f"document {number}" for number in range(600)]
    cache = EmbeddingCache(tmp_path, "model", counted)
    with pytest.raises(KeyboardInterrupt):
        cache.embed(cells, "text", "document")

    found = cache.embed(cells, "text", "document")

    assert encoded == [512, 88, 88]
    assert np.array_equal(found, vectors(cells, "text", "document"))


def test_embeddings_of_another_model_or_role_are_not_taken(tmp_path: Path) -> None:
    encoded: list[Role] = []

    def counted(cells: Sequence[str], modality: Modality, role: Role) -> Floats:
        encoded.append(role)
        return vectors(cells, modality, role)

    for name, role in (("one", "query"), ("one", "document"), ("other", "query"), ("one", "query")):
        EmbeddingCache(tmp_path, name, counted).embed(["text 1"], "text", role)  # type: ignore[arg-type]

    assert encoded == ["query", "document", "query"]


def mining_run(make_run: MakeRun, claim: Path, model: Path, wanted: dict[str, Any], **columns: str) -> Run:
    """Return a run that mines on `pvc://inputs/qa` with `model` as its base."""
    shutil.copytree(model, claim / "base")
    dataset = {"name": "qa", "source": "pvc://inputs/qa", "columns": columns, "mineNegatives": wanted}
    return make_run(model={"source": "pvc://inputs/base"}, data={"train": [dataset]})


COLORS = ["red", "green", "blue", "orange"]


def test_images_are_mined_by_their_paths(make_run: MakeRun, claim: Path, tiny_model: Path) -> None:
    pages = [{"query": f"a {color} page", "image": png(color)} for color in COLORS]
    write_pages(claim / "qa", train=[*pages, {"query": "a red page", "image": png("green")}])
    run = mining_run(make_run, claim, tiny_model, {"numNegatives": 2}, query="query", positive="image")

    result = prepare(run.config, run.settings)

    (train,) = InputsManifest.read(run.workspace.manifest).train
    assert result.reason is Reason.VALIDATED
    assert train.columns == [
        Column(name="query", modality="text"),
        *(Column(name=name, modality="image") for name in ("positive", "negative_0", "negative_1")),
    ]
    rows = [
        (row.pop("query"), *(kept(run, path) for path in row.values())) for row in read(run.workspace.train_table("qa"))
    ]
    assert [row[:2] for row in rows] == [
        *((f"a {color} page", png(color)) for color in COLORS),
        ("a red page", png("green")),
    ]
    answers = {f"a {color} page": {png(color)} for color in COLORS} | {"a red page": {png("red"), png("green")}}
    assert all(len(set(negatives)) == 2 and not answers[query] & set(negatives) for query, _, *negatives in rows)
    assert not list(run.workspace.inputs.glob(".*"))


def test_another_model_may_look_and_rows_without_enough_negatives_are_left_out(
    make_run: MakeRun, claim: Path, tiny_model: Path, text_model: Path
) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"query": query, "positive": answer} for query, answer in PAIRS])
    shutil.copytree(text_model, claim / "miner")
    wanted = {"numNegatives": 2, "source": "pvc://inputs/miner", "maxScore": 0.4, "rangeMax": 5}
    run = mining_run(make_run, claim, tiny_model, wanted, query="query", positive="positive")

    result = prepare(run.config, run.settings)

    rows = read(run.workspace.train_table("qa"))
    assert (run.workspace.other_model("pvc://inputs/miner", "main") / "config.json").is_file()
    assert 0 < len(rows) < len(PAIRS)
    assert result.warnings == [
        f"spec.data.train[0]: batches of {len(rows)} rows instead of 32; the set fills no larger ones",
        "spec.data.train[0]: 4 of 10 rows of an epoch share a batch of 10 (1 processes x 10) with a row of the same "
        "query or answer, or that has their answer for a negative, and are trained on as wrong answers; 10 rows have "
        "10 different values of query, 10 different values of positive; lower "
        "spec.training.perDeviceTrainBatchSize, or take rows out",
        f"spec.data.train[0]: dataset qa: {len(PAIRS) - len(rows)} rows have less than 2 negatives; they are left out",
    ]


def test_a_miner_that_cannot_encode_the_set_is_refused(
    make_run: MakeRun, claim: Path, tiny_model: Path, text_model: Path
) -> None:
    write_pages(claim / "qa", train=[{"query": f"a {color} page", "image": png(color)} for color in COLORS])
    shutil.copytree(text_model, claim / "miner")
    run = mining_run(make_run, claim, tiny_model, {"source": "pvc://inputs/miner"}, query="query", positive="image")

    with pytest.raises(RunFailure) as failure:
        prepare(run.config, run.settings)

    assert (failure.value.reason, failure.value.message) == (
        Reason.UNSUPPORTED_MODALITY,
        "spec.data.train[0].mineNegatives.source: pvc://inputs/miner encodes text only, and the set holds images too; "
        "name a model that encodes them",
    )
