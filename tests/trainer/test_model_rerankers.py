"""Rerankers: the words between which they decide, the roles of a pair, and the instruction before it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import Transformer

from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.prompts import prompts_of
from finetune_trainer.train.checkpoints.save import save_model
from finetune_trainer.workspace.failures import RunFailure
from tests.trainer.model_folders import CHATTING_VLM, CPU, RERANKER, TEXT, VLM, load, prepare_models, red_page
from tests.trainer.test_model_paths import ANY_TO_ANY, LAST_TOKEN, RERANKERS

PAIRS: list[Any] = [("which page has a chart?", "the blue table"), ("blue", red_page())]


def scored_by(**arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - arguments of a module
    return [ANY_TO_ANY, {"type": "LogitScore", "arguments": arguments}]


def test_tokens_may_be_named_as_text_or_as_ids(tmp_path: Path) -> None:
    as_text = load(tmp_path, kind="Reranker", source=VLM, modules=scored_by(true_token="1", false_token="0"))
    ids = {name: as_text.tokenizer.convert_tokens_to_ids(text) for name, text in (("true", "1"), ("false", "0"))}
    as_ids = load(
        tmp_path,
        kind="Reranker",
        source=VLM,
        modules=scored_by(true_token_id=ids["true"], false_token_id=ids["false"]),
    )

    assert as_text[1].get_config_dict() == as_ids[1].get_config_dict()
    assert as_text[1].get_config_dict() == {
        "true_token_id": ids["true"],
        "false_token_id": ids["false"],
        "module_input_name": "causal_logits",
    }


def test_a_text_that_is_several_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFailure) as caught:
        load(tmp_path, kind="Reranker", source=VLM, modules=scored_by(true_token="indubitably"))

    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.message.startswith(
        "spec.model.modules[1].arguments.true_token: 'indubitably' is wrong because the tokenizer makes "
    )
    assert caught.value.message.endswith(" tokens of it; name a single token")


def test_the_score_is_read_where_the_answer_would_begin(tmp_path: Path) -> None:
    model = load(tmp_path, kind="Reranker", **RERANKERS["language model head"])

    (ids,) = model.preprocess(PAIRS[:1])["input_ids"]

    assert model.tokenizer.decode(ids).endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_a_dense_head_starts_with_the_log_odds_of_the_language_model_head(tmp_path: Path) -> None:
    generative = load(tmp_path, kind="Reranker", **RERANKERS["language model head"])
    dense = load(tmp_path, kind="Reranker", **RERANKERS["dense head on the last token"])

    # The tiny model ties its input and output embeddings, as its large kin do.
    np.testing.assert_allclose(dense.predict(PAIRS), generative.predict(PAIRS), atol=1e-6)


def test_a_dense_head_may_start_from_one_token_alone(tmp_path: Path) -> None:
    head = {"out_features": 1, "activation_function": None, "module_output_name": "scores", "true_token": "1"}
    modules = [{"type": "Transformer"}, LAST_TOKEN, {"type": "Dense", "arguments": head}]

    model = load(tmp_path, kind="Reranker", source=VLM, modules=modules)

    row = model.tokenizer.convert_tokens_to_ids("1")
    assert torch.equal(model[2].linear.weight[0], model[0].model.get_input_embeddings().weight[row])


def test_what_the_library_makes_by_hand_scores_the_same(tmp_path: Path) -> None:
    _, workspace = prepare_models(tmp_path, kind="Reranker", **RERANKERS["language model head"])
    transformer = Transformer(
        str(workspace.base_model),
        transformer_task="any-to-any",
        processing_kwargs={"chat_template": {"add_generation_prompt": True}},
    )
    yes, no = (transformer.tokenizer.convert_tokens_to_ids(token) for token in "10")

    by_hand = CrossEncoder(modules=[transformer, LogitScore(yes, no)], device=str(CPU))

    model = load(tmp_path, kind="Reranker", **RERANKERS["language model head"])
    np.testing.assert_allclose(model.predict(PAIRS), by_hand.predict(PAIRS), atol=1e-6)


def test_a_chat_template_of_users_and_assistants_learns_the_roles_of_a_pair(tmp_path: Path) -> None:
    fields = RERANKERS["language model head"] | {"source": CHATTING_VLM}

    model = load(tmp_path, kind="Reranker", **fields)

    (ids,) = model.preprocess(PAIRS[:1])["input_ids"]
    assert model.tokenizer.decode(ids) == (
        "<|im_start|>query\nwhich page has a chart?<|im_end|>\n<|im_start|>document\nthe blue table<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    save_model(model, tmp_path / "saved")
    again = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.predict(PAIRS), model.predict(PAIRS), atol=1e-6)


def test_a_reranker_keeps_its_instruction_and_scores_with_it(tmp_path: Path) -> None:
    instruction = "Judge whether the page answers the query."
    fields = RERANKERS["language model head"] | {"prompts": {"query": instruction}}
    plain = load(tmp_path / "plain", kind="Reranker", **RERANKERS["language model head"])

    model = load(tmp_path / "prompted", kind="Reranker", **fields)

    assert prompts_of(model) == {"query": instruction, "document": ""}
    np.testing.assert_allclose(model.predict(PAIRS), plain.predict(PAIRS, prompt=instruction), atol=1e-6)
    assert np.abs(model.predict(PAIRS) - plain.predict(PAIRS)).max() > 1e-6
    save_model(model, tmp_path / "saved")
    again = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.predict(PAIRS), model.predict(PAIRS), atol=1e-6)


def test_a_reranker_without_an_instruction_has_none(tmp_path: Path) -> None:
    assert prompts_of(load(tmp_path, kind="Reranker", source=RERANKER)) == {"query": "", "document": ""}


def test_the_number_of_labels_is_that_of_the_saved_head_unless_stated(tmp_path: Path) -> None:
    assert load(tmp_path / "saved", kind="Reranker", source=RERANKER).num_labels == 2
    assert load(tmp_path / "new", kind="Reranker", source=TEXT).num_labels == 1
    assert load(tmp_path / "stated", kind="Reranker", source=TEXT, numLabels=5).num_labels == 5
