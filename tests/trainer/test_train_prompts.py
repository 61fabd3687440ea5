# ruff: noqa: ANN401 - torch and its types are imported where a test needs them
"""Prompts in what is trained on and measured: the tokens carry those that inference puts before them, and no others."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl_checkpoint
from finetune_api.contract import RunConfig
from finetune_api.evaluators import Evaluator
from finetune_api.losses import Label
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.manifest import InputsManifest, PreparedEvaluation
from tests.trainer.evaluation_sets import add_pair_set, add_reranking_set, add_triplet_set
from tests.trainer.train_inputs import draw_pages, open_kept, prepare_sets, run_config, text_set, write_evaluation
from tests.trainer.trainers import CACHED, RERANKERS, open_session, open_trainer

SENTENCES = ["find the answer to this question number 0", "the answer number 1 of the text", "judge the pair"]
PROMPTS = {"query": "question: ", "document": "text: "}
CHOICES = [(), ("query",), ("document",), ("query", "document")]
SETS: dict[str, dict[str, Any]] = {
    "held-out": {},
    "ranked": {"columns": {"query": "q", "documents": "d", "label": "label"}, "evaluator": "Reranking"},
    "triplets": {"columns": {"query": "q", "positive": "p", "negatives": ["n"]}, "evaluator": "Triplet"},
    "right": {"columns": {"query": "q", "document": "d", "label": "label"}, "evaluator": "BinaryClassification"},
}


@pytest.fixture(scope="module")
def generative_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generative")
    build_tiny_qwen3_vl_checkpoint(folder, sentences=SENTENCES)
    return folder


def job(*evaluations: str, train: Sequence[str] = ("pages",), **sections: Any) -> RunConfig:
    """Return a config of small batches of the named sets."""
    source = {"source": "hf://demo/pages"}
    data = {
        "train": [{"name": name, **source} for name in train],
        "evaluation": [{"name": name, **source, **SETS[name]} for name in evaluations],
    }
    training = {"loss": {"name": CACHED}, "perDeviceTrainBatchSize": 2, "maxSteps": 1}
    return run_config(data=data, evaluation={}, **{"training": training} | sections)


def texts(kind: str, count: int = 2) -> list[str]:
    return [f"{kind} number {number}" for number in range(count)]


def open_job(config: RunConfig, workspace: Workspace) -> tuple[Any, Any]:
    """Return session and trainer."""
    from finetune_trainer.train.gang.ranks import Ranks

    session = open_session(config, workspace, Ranks())
    trainer, _ = open_trainer(session)
    return session, trainer


def shown_in_a_step(trainer: Any) -> list[str]:
    """Return every text that reaches the transformer in the first step, without padding."""
    batch = next(iter(trainer.get_train_dataloader()))
    with recorded(trainer.model) as shown:
        trainer.compute_loss(trainer.model, batch)
    return shown


def shown_in_an_evaluation(session: Any, model: Any) -> list[str]:
    """Return every text that reaches the transformer while all sets are measured."""
    from finetune_trainer.recipe.model.inputs import InputReader
    from finetune_trainer.train.evaluation.judge import appoint_judge
    from finetune_trainer.train.weights.replicated import Replicated

    workspace = session.workspace
    inputs = InputsManifest.read(workspace.manifest)
    weights = Replicated([], ranks=session.ranks)
    judge = appoint_judge(session, inputs, model, InputReader.of(model, images=workspace.images), weights)
    with recorded(model) as shown:
        judge.measure_baseline()
    return shown


def read_batches(trainer: Any) -> dict[str, dict[str, list[str]]]:
    """Return the texts of all batches as they are tokenized, by set and column."""
    found: dict[str, dict[str, list[str]]] = {}
    for batch in trainer.get_train_dataloader():
        columns = found.setdefault(batch.get("dataset_name", "pages"), {})
        for name, values in batch.items():
            if name.endswith("_input_ids"):
                columns.setdefault(name.removesuffix("_input_ids"), []).extend(read_tokens(trainer.model, values))
    return {name: {column: sorted(read) for column, read in columns.items()} for name, columns in found.items()}


def read_tokens(model: Any, ids: Any) -> list[str]:
    decoded = model.tokenizer.batch_decode(ids)
    return [text.replace("<|endoftext|>", "").replace(" [PAD]", "") for text in decoded]


@contextlib.contextmanager
def recorded(model: Any) -> Iterator[list[str]]:
    """Collect what the model is shown while inside."""
    shown: list[str] = []

    def record(_module: Any, inputs: tuple[Any, ...]) -> None:
        shown.extend(read_tokens(model, inputs[0]["input_ids"]))

    hook = model[0].register_forward_pre_hook(record)
    yield shown
    hook.remove()


def add_sets(workspace: Workspace, evaluations: Sequence[PreparedEvaluation]) -> None:
    """Let the manifest have these sets."""
    manifest = InputsManifest.read(workspace.manifest)
    manifest.model_copy(update={"evaluations": evaluations}).write(workspace.manifest)


def held_out(queries: int, *, documents: int) -> PreparedEvaluation:
    return PreparedEvaluation(
        name="held-out", query_modality="text", corpus_modality="text", queries=queries, documents=documents
    )


def as_tokens(stated: Sequence[str], role: str, cells: Sequence[str]) -> list[str]:
    """Return what the text model's tokens read as."""
    prompt = PROMPTS[role].replace(":", " :") if role in stated else ""
    return [f"[CLS] {prompt}{cell} [SEP]" for cell in cells]


@pytest.mark.parametrize("stated", CHOICES, ids=lambda stated: " and ".join(stated) or "none")
def test_each_column_of_a_batch_carries_its_prompt_or_none(
    stated: tuple[str, ...], tmp_path: Path, text_model: Path
) -> None:
    config = job(model={"source": "hf://demo/text", "prompts": {role: PROMPTS[role] for role in stated}})
    cells = {"query": texts("query"), "positive": texts("page"), "negative_0": texts("table")}
    workspace = prepare_sets(tmp_path / "run", config, model=text_model, sets=[text_set("pages", cells)])

    _, trainer = open_job(config, workspace)

    columns = {
        "query": as_tokens(stated, "query", texts("query")),
        "positive": as_tokens(stated, "document", texts("page")),
        "negative_0": as_tokens(stated, "document", texts("table")),
    }
    assert read_batches(trainer) == {"pages": columns}
    assert sorted(shown_in_a_step(trainer)) == sorted(text for column in columns.values() for text in column)


@pytest.mark.parametrize("stated", CHOICES, ids=lambda stated: " and ".join(stated) or "none")
def test_each_side_of_an_evaluation_carries_its_prompt_or_none(
    stated: tuple[str, ...], tmp_path: Path, text_model: Path
) -> None:
    config = job(
        "held-out",
        "ranked",
        "triplets",
        model={"source": "hf://demo/text", "prompts": {role: PROMPTS[role] for role in stated}},
    )
    cells = {"query": texts("query"), "positive": texts("page")}
    workspace = prepare_sets(tmp_path / "run", config, model=text_model, sets=[text_set("pages", cells)])
    content: Any = {"queries": texts("question", 8), "documents": texts("answer", 8)}
    write_evaluation(workspace, **content)
    ranked, triplets = (
        add(workspace, name, modality="text", **content)
        for add, name in ((add_reranking_set, "ranked"), (add_triplet_set, "triplets"))
    )
    add_sets(workspace, [held_out(8, documents=8), ranked, triplets])
    session, trainer = open_job(config, workspace)

    shown = shown_in_an_evaluation(session, trainer.model)

    # All sets are of the same content, each of which is embedded once.
    assert sorted(shown) == sorted(
        [*as_tokens(stated, "query", content["queries"]), *as_tokens(stated, "document", content["documents"])]
    )


def test_sets_of_other_columns_carry_prompts_by_column_too(tmp_path: Path, text_model: Path) -> None:
    config = job(train=["pages", "tables"], model={"source": "hf://demo/text", "prompts": PROMPTS})
    pages = {"query": texts("query", 4), "positive": texts("page", 4)}
    tables = {"query": texts("question", 4), "positive": texts("table", 4), "negative_0": texts("chart", 4)}
    sets = [text_set("pages", pages), text_set("tables", tables)]
    workspace = prepare_sets(tmp_path / "run", config, model=text_model, sets=sets)

    _, trainer = open_job(config, workspace)

    read = {
        name: {column: {text.split(" number")[0] for text in found} for column, found in columns.items()}
        for name, columns in read_batches(trainer).items()
    }
    assert read == {
        "pages": {"query": {"[CLS] question : query"}, "positive": {"[CLS] text : page"}},
        "tables": {
            "query": {"[CLS] question : question"},
            "positive": {"[CLS] text : table"},
            "negative_0": {"[CLS] text : chart"},
        },
    }


@pytest.mark.parametrize("stated", CHOICES, ids=lambda stated: " and ".join(stated) or "none")
def test_pages_carry_the_prompt_of_documents_as_inference_puts_it(
    stated: tuple[str, ...], tmp_path: Path, tiny_model: Path
) -> None:
    config = job(model={"source": "hf://demo/tiny", "prompts": {role: PROMPTS[role] for role in stated}})
    workspace = Workspace(tmp_path / "run")
    questions, pages = draw_pages(workspace, count=2)
    cells = {"query": questions, "positive": pages}
    prepare_sets(workspace.root, config, model=tiny_model, sets=[text_set("pages", cells, images=["positive"])])
    _, trainer = open_job(config, workspace)

    trained = shown_in_a_step(trainer)

    with recorded(trainer.model) as used:
        trainer.model.encode_query(questions)
        trainer.model.encode_document([open_kept(workspace, page) for page in pages])
    assert sorted(trained) == sorted(used)
    of_pages = [text for text in trained if "<|image_pad|>" in text]
    of_questions = [text for text in trained if text not in of_pages]
    assert [PROMPTS["document"].strip() in text for text in of_pages] == ["document" in stated] * 2
    assert [PROMPTS["query"].strip() in text for text in of_questions] == ["query" in stated] * 2


@pytest.mark.parametrize("instruction", ["judge the pair", None], ids=["instruction", "none"])
@pytest.mark.parametrize("head", RERANKERS)
def test_every_pair_of_a_reranker_carries_the_instruction_or_none(
    head: str, instruction: str | None, tmp_path: Path, generative_model: Path
) -> None:
    config = job(
        "ranked",
        "right",
        model=RERANKERS[head] | {"prompts": {"query": instruction} if instruction else {}},
        training={"loss": {"name": "BinaryCrossEntropyLoss"}, "maxSteps": 1, "perDeviceTrainBatchSize": 2},
    )
    trained_pairs = [("question 0", "answer 0"), ("question 1", "answer 1")]
    cells: dict[str, list[Any]] = {
        "query": [query for query, _ in trained_pairs],
        "document": [document for _, document in trained_pairs],
        "label": [1.0, 0.0],
    }
    sets = [text_set("pages", cells, label=Label.SCORE)]
    workspace = prepare_sets(tmp_path / "run", config, model=generative_model, sets=sets)
    content: Any = {"queries": texts("question", 6), "documents": texts("answer", 6), "modality": "text"}
    add_sets(
        workspace,
        [
            add_reranking_set(workspace, "ranked", **content),
            add_pair_set(workspace, "right", Evaluator.BINARY_CLASSIFICATION, **content),
        ],
    )
    session, trainer = open_job(config, workspace)

    trained = shown_in_a_step(trainer)
    measured = shown_in_an_evaluation(session, trainer.model)

    # With six documents, each is a candidate of every question; the other set's pairs are among those.
    all_pairs = [(query, document) for query in content["queries"] for document in content["documents"]]
    for shown, pairs in ((trained, trained_pairs), (measured, all_pairs)):
        with recorded(trainer.model) as used:
            trainer.model.predict(pairs)
        assert sorted(shown) == sorted(used)
        assert [("judge the pair" in text) for text in shown] == [instruction is not None] * len(pairs)
