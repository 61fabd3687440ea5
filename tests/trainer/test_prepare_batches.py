"""prepare finds what only written tables tell: sets without batches for all processes, images that are too long."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune_api.reasons import Reason
from finetune_trainer.prepare.prepare import prepare
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl, write_pages
from tests.trainer.test_prepare import failure_of

TEXTS = [{"query": f"question {number}", "positive": f"answer {number}"} for number in range(6)]
TWO_PROCESSES = {"accelerator": {"perNode": 2}, "requests": {"cpu": "2"}}
TRIPLETS = {"document": "text", "label": "kind"}


def texts_run(make_run: MakeRun, claim: Path, text_model: Path, rows: list[dict[str, Any]], **spec: Any) -> Run:  # noqa: ANN401
    shutil.copytree(text_model, claim / "text-model")
    write_jsonl(claim / "qa" / "train.jsonl", rows)
    dataset = {"name": "qa", "source": "pvc://inputs/qa"} | spec.pop("dataset", {})
    return make_run(model={"source": "pvc://inputs/text-model"}, data={"train": [dataset]}, **spec)


def test_fewer_rows_than_processes_are_refused_before_an_accelerator_is_asked_for(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    run = texts_run(make_run, claim, text_model, TEXTS[:1], resources=TWO_PROCESSES)

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.EMPTY_DATASET,
        "spec.data.train[0]: 1 rows cannot be split over 2 processes; add rows",
    )


def test_a_row_on_its_own_from_which_an_in_batch_loss_learns_nothing_is_refused(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    run = texts_run(make_run, claim, text_model, TEXTS, training={"perDeviceTrainBatchSize": 1})

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.INVALID_ARGUMENT,
        "spec.data.train[0]: 1 row per step has no other rows whose documents CachedMultipleNegativesRankingLoss could "
        "tell its own from; give the set more rows, a larger spec.training.perDeviceTrainBatchSize, or "
        "columns.negatives",
    )


@pytest.mark.parametrize(
    ("losses", "is_refused"),
    [
        (["CachedMultipleNegativesRankingLoss", "MultipleNegativesRankingLoss"], False),
        (["CoSENTLoss", "MultipleNegativesRankingLoss"], True),
    ],
)
def test_gangs_of_fewer_nodes_that_cannot_share_the_batches_of_a_whole_one_are_refused(
    make_run: MakeRun, claim: Path, text_model: Path, losses: list[str], *, is_refused: bool
) -> None:
    rated = [row | {"score": number / 8} for number, row in enumerate(TEXTS)]
    shutil.copytree(text_model, claim / "text-model")
    write_jsonl(claim / "qa" / "train.jsonl", rated)
    pairs, scored = ({"query": "query", name: "positive"} for name in ("positive", "document"))
    train = [
        {
            "name": f"qa-{loss.lower()}",
            "source": "pvc://inputs/qa",
            "columns": scored | {"label": "score"} if loss == "CoSENTLoss" else pairs,
            "loss": {"name": loss},
        }
        for loss in losses
    ]
    run = make_run(
        model={"source": "pvc://inputs/text-model"},
        data={"train": train},
        resources={"nodes": 2, "minNodes": 1, "accelerator": {"perNode": 0}},
        storage={"accessMode": "ReadWriteMany"},
    )

    if not is_refused:
        assert prepare(run.config, run.settings).reason is Reason.VALIDATED
        return
    assert failure_of(run).message == (
        "spec.resources.minNodes: 1 is wrong because the batches of 2 processes cannot be shared among 1 with the same "
        "rows and the same loss; leave it out"
    )


@pytest.mark.parametrize(
    ("kinds", "batch_size", "reason", "message"),
    [
        (
            [0, 0, 1, 1, 2, 2],
            3,
            Reason.INVALID_ARGUMENT,
            "spec.data.train[0]: batches of 3 rows per process hold no triplets; give the set more rows or set "
            "spec.training.perDeviceTrainBatchSize to 4 or more",
        ),
        (
            [0, 1, 2, 3, 4, 5],
            4,
            Reason.EMPTY_DATASET,
            "spec.data.train[0]: its labels make no batches of 4 rows for each of 1 processes, with two labels or more "
            "that come twice or more; add rows or lower spec.training.perDeviceTrainBatchSize",
        ),
    ],
    ids=["small batches", "every label once"],
)
def test_labels_that_make_no_triplets_are_refused_before_an_accelerator_is_asked_for(  # noqa: PLR0913, PLR0917 - fixtures
    kinds: list[int],
    batch_size: int,
    reason: Reason,
    message: str,
    make_run: MakeRun,
    claim: Path,
    text_model: Path,
) -> None:
    rows = [{"text": f"text {number}", "kind": kind} for number, kind in enumerate(kinds)]
    training = {"loss": {"name": "BatchHardTripletLoss"}, "perDeviceTrainBatchSize": batch_size}
    run = texts_run(make_run, claim, text_model, rows, training=training, dataset={"columns": TRIPLETS})

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (reason, message)


def test_smaller_batches_than_asked_for_are_told(make_run: MakeRun, claim: Path, text_model: Path) -> None:
    training = {"perDeviceTrainBatchSize": 4}
    run = texts_run(make_run, claim, text_model, TEXTS, resources=TWO_PROCESSES, training=training)

    result = prepare(run.config, run.settings)

    assert result.warnings == ["spec.data.train[0]: batches of 3 rows instead of 4; the set fills no larger ones"]


def test_batches_hold_no_more_rows_than_there_are_different_answers(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    rows = [{"query": f"question {number}", "positive": f"answer {number % 5}"} for number in range(20)]
    run = texts_run(make_run, claim, text_model, rows, resources=TWO_PROCESSES)

    result = prepare(run.config, run.settings)

    assert result.warnings == [
        "spec.data.train[0]: batches of 2 rows instead of 32; 2 processes share 5 different values of positive in 20 "
        "rows, and a second one in a batch would be trained on as a wrong answer"
    ]


def test_rows_that_meet_their_own_answer_in_a_batch_are_counted(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    rows = [{"query": f"question {number}", "positive": f"answer {max(0, number - 7)}"} for number in range(12)]
    run = texts_run(make_run, claim, text_model, rows, training={"perDeviceTrainBatchSize": 4})

    result = prepare(run.config, run.settings)

    assert result.warnings == [
        "spec.data.train[0]: 7 of 12 rows of an epoch share a batch of 4 (1 processes x 4) with a row of the same "
        "query or answer, or that has their answer for a negative, and are trained on as wrong answers; 12 rows have "
        "12 different values of query, 5 different values of positive; lower spec.training.perDeviceTrainBatchSize, or "
        "take rows out"
    ]


def test_equal_answers_do_no_harm_where_no_other_row_is_a_negative(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    rows = [
        {"query": f"question {number}", "positive": "answer", "negative": f"other {number}"} for number in range(12)
    ]
    columns = {"query": "query", "positive": "positive", "negatives": ["negative"]}
    training = {"perDeviceTrainBatchSize": 4, "loss": {"name": "TripletLoss"}}
    run = texts_run(make_run, claim, text_model, rows, training=training, dataset={"columns": columns})

    assert prepare(run.config, run.settings).warnings == []


def test_fewer_different_answers_than_processes_are_refused(make_run: MakeRun, claim: Path, text_model: Path) -> None:
    rows = [{"query": f"question {number}", "positive": "answer"} for number in range(6)]
    run = texts_run(make_run, claim, text_model, rows, resources=TWO_PROCESSES)

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.EMPTY_DATASET,
        "spec.data.train[0]: 1 different values of positive in 6 rows cannot be split over 2 processes; add rows",
    )


def test_a_metric_that_is_the_same_for_every_model_is_refused(make_run: MakeRun, claim: Path, text_model: Path) -> None:
    run = texts_run(make_run, claim, text_model, TEXTS, evaluation={"metric": "recall@10"})
    write_jsonl(claim / "qa" / "test.jsonl", [{"query": f"q {n}", "positive": f"a {n}"} for n in range(10)])
    held_out = {"name": "held-out", "source": "pvc://inputs/qa", "columns": {}}
    data = run.config.spec.data.model_dump(by_alias=True, exclude_unset=True) | {"evaluation": [held_out]}
    spec = run.config.spec.model_dump(by_alias=True, exclude_unset=True) | {"data": data}

    failure = failure_of(make_run(**spec))

    assert (failure.reason, failure.message) == (
        Reason.INVALID_ARGUMENT,
        "spec.evaluation.metric: recall@10 is wrong because held-out has 10 documents, all among the first 10 whatever "
        "the model; choose ndcg@10 or a k below 10",
    )


def pages_run(
    make_run: MakeRun,
    tmp_path: Path,
    model: Path,
    *,
    sizes: list[tuple[int, int]],
    resources: dict[str, Any] | None = None,
    **fields: Any,  # noqa: ANN401
) -> Run:
    claim = tmp_path / "claims" / "inputs"
    rows = [
        {"query": f"page {number}", "image": png(f"#0000{number:02}", size=size)} for number, size in enumerate(sizes)
    ]
    held_out = [{"query": f"{color} page", "image": png(color)} for color in ("blue", "green")]
    write_pages(claim / "pages", train=rows, test=held_out)
    shutil.copytree(model, claim / "model")
    dataset = {"source": "pvc://inputs/pages", "columns": {"query": "query", "positive": "image"}}
    data = {"train": [dataset | {"name": "pages"}], "evaluation": [dataset | {"name": "held-out", "split": "test"}]}
    training = {"perDeviceTrainBatchSize": len(sizes)}
    more = {} if resources is None else {"resources": resources}
    return make_run(model={"source": "pvc://inputs/model", **fields}, data=data, training=training, **more)


SMALL, LARGE = (32, 32), (320, 480)


def test_images_of_more_tokens_than_the_stated_length_are_refused(
    make_run: MakeRun, tmp_path: Path, tiny_model: Path
) -> None:
    run = pages_run(make_run, tmp_path, tiny_model, sizes=[SMALL, LARGE, SMALL], maxSeqLength=32)

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.INVALID_ARGUMENT,
        "spec.model.maxSeqLength: 32 is wrong because an image of spec.data.train[0] makes 64 tokens, its prompt "
        "included; give 64 or more, or limit the size of images in spec.model.processorKwargs",
    )


def test_images_of_more_tokens_than_the_models_own_length_are_refused(
    make_run: MakeRun, tmp_path: Path, tiny_model: Path
) -> None:
    own = {"model_max_length": 40}
    run = pages_run(make_run, tmp_path, tiny_model, sizes=[SMALL, LARGE, SMALL], processorKwargs=own)

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.INVALID_ARGUMENT,
        "spec.model.maxSeqLength: is not given, and the model's own, 40, is wrong because an image of "
        "spec.data.train[0] makes 64 tokens, its prompt included; give 64 or more, or limit the size of images in "
        "spec.model.processorKwargs",
    )


def test_images_that_fit_pass(make_run: MakeRun, tmp_path: Path, tiny_model: Path) -> None:
    run = pages_run(make_run, tmp_path, tiny_model, sizes=[SMALL, LARGE], maxSeqLength=64)

    result = prepare(run.config, run.settings)

    assert (result.reason, result.warnings) == (Reason.VALIDATED, [])


def test_what_is_refused_would_end_the_training(tiny_model: Path) -> None:
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model), device="cpu")
    page = Image.new("RGB", LARGE)
    model.encode([page])
    model.max_seq_length = 32

    with pytest.raises(ValueError, match="image"):
        model.encode([page])


def test_a_length_beyond_the_positions_that_the_model_knows_is_refused(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    run = texts_run(make_run, claim, text_model, TEXTS)
    spec = run.config.spec
    model = spec.model.model_copy(update={"max_seq_length": 513})
    longer = Run(
        config=run.config.model_copy(update={"spec": spec.model_copy(update={"model": model})}), settings=run.settings
    )

    failure = failure_of(longer)

    assert (failure.reason, failure.message) == (
        Reason.INVALID_ARGUMENT,
        "spec.model.maxSeqLength: 513 is wrong because the model knows 512 positions, and longer texts would end the "
        "training; give 512 or less",
    )


def test_a_length_of_the_models_own_beyond_its_positions_is_refused_too(text_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from finetune_api.model import Model
    from finetune_trainer.prepare.checks.limits import check_positions

    model = SentenceTransformer(str(text_model), device="cpu")
    spec = Model(source="hf://acme/base")
    fits = list(check_positions(model, spec))
    model.max_seq_length = 514  # as RoBERTa's, of which two are not for tokens, where a tokenizer states no length

    (problem,) = check_positions(model, spec)

    assert fits == []
    assert problem.message == (
        "spec.model.maxSeqLength: is not given, and the model's own, 514, is wrong because the model knows 512 "
        "positions, and longer texts would end the training; give 512 or less"
    )


def test_positions_are_counted_as_each_family_keeps_them() -> None:
    import torch
    import transformers

    from finetune_trainer.recipe.model.tokenizers import num_positions

    expected = {
        ("BertModel", 512): 512,
        ("RobertaModel", 514): 512,
        ("MPNetModel", 514): 512,
        ("GPT2Model", 1024): 1024,
        ("OPTModel", 2048): 2048,
        ("ModernBertModel", 8192): None,
        ("Qwen3Model", 4096): None,
        ("T5EncoderModel", None): None,
    }

    found = {}
    with torch.device("meta"):
        for name, places in expected:
            cls = getattr(transformers, name)
            limits = {} if places is None else {"max_position_embeddings": places}
            found[name, places] = num_positions(cls(cls.config_class(**limits)))

    assert found == expected
