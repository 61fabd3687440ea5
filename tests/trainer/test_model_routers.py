"""Routers: which encoder takes what, in training and afterwards."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from finetune_api.model import Model
from finetune_trainer.recipe.model.router import router_mapping
from finetune_trainer.workspace.manifest import Column
from tests.trainer.model_folders import PROMPTED, STATIC, TEXT, VIT, load, red_page, text_folder

IMAGE_MODULES = [{"type": "Transformer"}, {"type": "Pooling"}, {"type": "Dense", "arguments": {"out_features": 384}}]
BY_MODALITY: dict[str, Any] = {
    "router": {"routes": {"text": {"source": TEXT}, "image": {"source": VIT, "modules": IMAGE_MODULES}}}
}
BY_TASK: dict[str, Any] = {
    "router": {"by": "Task", "routes": {"query": {"source": STATIC}, "document": {"source": TEXT}}}
}
TEXTS = [Column(name=name, modality="text") for name in ("query", "positive", "negative_0")]


def test_columns_are_mapped_to_routes_by_what_they_hold_or_by_their_part() -> None:
    pages = [TEXTS[0], Column(name="positive", modality="image"), Column(name="documents", modality="image", many=True)]

    assert router_mapping(Model.model_validate(BY_MODALITY), pages) == {
        "query": "text",
        "positive": "image",
        "documents": "image",
    }
    assert router_mapping(Model.model_validate(BY_TASK), TEXTS) == {
        "query": "query",
        "positive": "document",
        "negative_0": "document",
    }
    assert router_mapping(Model.model_validate({"source": TEXT}), TEXTS) == {}


def test_a_router_by_modality_embeds_with_the_encoder_of_each_modality(tmp_path: Path) -> None:
    model = load(tmp_path, **BY_MODALITY)
    text = SentenceTransformer(str(text_folder()), device="cpu")
    image = SentenceTransformer(modules=list(model[0].sub_modules["image"]), device="cpu")

    for encode in (model.encode, model.encode_query, model.encode_document):
        np.testing.assert_allclose(encode(["blue"]), text.encode(["blue"]), atol=1e-6)
        np.testing.assert_allclose(encode([red_page()]), image.encode([red_page()]), atol=1e-6)


def test_a_router_by_task_embeds_queries_and_documents_with_encoders_of_their_own(tmp_path: Path) -> None:
    model = load(tmp_path, **BY_TASK)
    text = SentenceTransformer(str(text_folder()), device="cpu")
    static = SentenceTransformer(modules=list(model[0].sub_modules["query"]), device="cpu")

    np.testing.assert_allclose(model.encode_query(["blue"]), static.encode(["blue"]), atol=1e-6)
    np.testing.assert_allclose(model.encode_document(["blue"]), text.encode(["blue"]), atol=1e-6)


def test_the_mapping_leads_training_rows_to_the_same_encoders(tmp_path: Path) -> None:
    model = load(tmp_path, **BY_MODALITY)
    mapping = router_mapping(Model.model_validate(BY_MODALITY), [TEXTS[0], Column(name="positive", modality="image")])

    for column, value in (("query", "blue"), ("positive", red_page())):
        features = model.preprocess([value], task=mapping[column])
        found = model(features, task=mapping[column])["sentence_embedding"].detach()
        np.testing.assert_allclose(found, model.encode([value]), atol=1e-6)


def test_two_routes_of_one_source_are_two_encoders(tmp_path: Path) -> None:
    model = load(tmp_path, router={"by": "Task", "routes": {role: {"source": TEXT} for role in ("query", "document")}})

    query, document = (dict(model[0].sub_modules[role].named_parameters()) for role in ("query", "document"))
    assert query.keys() == document.keys()
    assert not {id(value) for value in query.values()} & {id(value) for value in document.values()}


def test_an_input_for_which_a_router_has_no_encoder_is_refused(tmp_path: Path) -> None:
    model = load(tmp_path, **BY_MODALITY)

    with pytest.raises(ValueError, match="mixes multiple modalities"):
        model.encode_query([{"text": "a", "image": red_page()}, "b"])


def test_a_router_keeps_the_prompts_of_its_encoders_unless_others_are_stated(tmp_path: Path) -> None:
    by_task = {"by": "Task", "routes": {role: {"source": PROMPTED} for role in ("query", "document")}}
    by_modality = {"routes": {"text": {"source": PROMPTED}, "image": {"source": VIT, "modules": IMAGE_MODULES}}}

    kept = load(tmp_path / "kept", router=by_task)
    of_the_text = load(tmp_path / "modality", router=by_modality)
    stated = load(tmp_path / "stated", router=by_task, prompts={"query": "look for: "})

    assert kept.prompts == {"query": "find: ", "document": "page: "}
    assert of_the_text.prompts == {"query": "find: ", "document": "page: "}
    assert stated.prompts == {"query": "look for: ", "document": "page: "}


def test_a_frozen_route_is_not_trained_and_the_others_are(tmp_path: Path) -> None:
    routes = {"text": {"source": TEXT, "freeze": True}, "image": {"source": VIT, "modules": IMAGE_MODULES}}

    model = load(tmp_path, router={"routes": routes})

    trained = {name.split(".")[2]: set[bool]() for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        trained[name.split(".")[2]].add(parameter.requires_grad)
    assert trained == {"text": {False}, "image": {True}}


def test_the_longest_input_is_limited_in_every_route_with_a_tokenizer(tmp_path: Path) -> None:
    model = load(tmp_path, **BY_MODALITY, maxSeqLength=16)

    assert model.max_seq_length == 16
    assert len(model.preprocess(["word " * 50], task="query")["input_ids"][0]) == 16
