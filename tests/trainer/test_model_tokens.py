"""Tokenizers that do not go with the weights: what is taken in their place, what is told, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, GPT2Config, GPT2Model, PreTrainedTokenizerFast

from finetune_api.model import Model
from finetune_api.objective import Loss
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.model import inspect_model
from finetune_trainer.prepare.checks.tokens import check_tokens
from finetune_trainer.recipe.losses.guide import load_guide
from finetune_trainer.recipe.model.load import load_model
from finetune_trainer.workspace.failures import RunFailure
from tests.trainer.loss_cases import build_bert
from tests.trainer.model_folders import CPU, build_clip

SOURCE = "hf://acme/base"
UNSUPPORTED, INVALID = Reason.UNSUPPORTED_MODEL, Reason.INVALID_ARGUMENT


def build_gpt2(folder: Path, *, end: str | None = "<end>") -> None:
    """Write a decoder whose tokenizer has no padding token."""
    words = ["<end>", "a", "red", "blue", "page"]
    plain = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"unk_token": "a"} | ({"eos_token": end} if end else {})
    PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=64, **names).save_pretrained(folder)
    config = GPT2Config(vocab_size=len(words), n_positions=64, n_embd=16, n_layer=1, n_head=2, eos_token_id=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GPT2Model(config).save_pretrained(folder)


def build_with_tokens(folder: Path) -> None:
    """Write a text model with two tokens more than it has embeddings."""
    build_bert(folder, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["[SKU]", "[SHOP]"])
    tokenizer.save_pretrained(folder)


def build_adapter(folder: Path) -> None:
    """Write an adapter of the text model, as PEFT does."""
    base = folder.parent / "of-the-adapter"
    build_bert(base, seed=0)
    model = SentenceTransformer(str(base), device="cpu")
    model.add_adapter(LoraConfig(target_modules=["query"]))
    model.transformers_model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "acme/base"}))


def inspected(root: Path, build: Any, **fields: Any) -> list[str]:  # noqa: ANN401 - fields of spec.model
    """Return what deserves a look about the model that `build` makes; raises RunFailure as prepare does."""
    workspace = Workspace(root)
    if not workspace.base_model.exists():
        workspace.base_model.parent.mkdir(parents=True)
        build(workspace.base_model)
    return inspect_model(Model.model_validate({"source": SOURCE} | fields), workspace).notes


def refusal(root: Path, build: Any, **fields: Any) -> tuple[Reason, str]:  # noqa: ANN401 - as above
    with pytest.raises(RunFailure) as caught:
        inspected(root, build, **fields)
    return caught.value.reason, caught.value.message


def loaded(root: Path, **fields: Any) -> Any:  # noqa: ANN401 - a model of either kind
    spec = Model.model_validate({"source": SOURCE} | fields)
    return load_model(spec, Workspace(root), device=CPU, seed=0)


def test_the_end_token_pads_where_there_is_none_for_it_and_that_is_told(tmp_path: Path) -> None:
    notes = inspected(tmp_path, build_gpt2)

    model = loaded(tmp_path)
    together = model.encode(["red", "a blue page"])
    assert notes == [
        "spec.model.source: hf://acme/base has no padding token; its end token, <end>, is taken for it",
    ]
    assert np.allclose(together[0], model.encode(["red"])[0], atol=1e-6)


def test_a_reranker_without_a_padding_token_reads_the_last_token_of_each_pair(tmp_path: Path) -> None:
    inspected(tmp_path, build_gpt2, kind="Reranker", numLabels=1)

    model: CrossEncoder = loaded(tmp_path, kind="Reranker", numLabels=1)
    together = model.predict([("red", "page"), ("a blue page", "red page")])
    assert np.allclose(together[0], model.predict([("red", "page")])[0], atol=1e-6)


def test_a_tokenizer_without_padding_and_end_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, lambda folder: build_gpt2(folder, end=None)) == (
        UNSUPPORTED,
        "spec.model.source: hf://acme/base has neither a padding token, without which texts of different lengths "
        "make no batch, nor an end token to take for it; name one of its tokens as pad_token in processorKwargs, "
        "or save it with one",
    )
    assert inspected(tmp_path, build_gpt2, processorKwargs={"pad_token": "<end>"}) == []


@pytest.mark.parametrize("kind", ["Embedding", "Reranker"])
def test_more_tokens_than_embeddings_are_refused(tmp_path: Path, kind: str) -> None:
    reason, message = refusal(tmp_path, build_with_tokens, kind=kind)

    rows = json.loads((Workspace(tmp_path).base_model / "config.json").read_text())["vocab_size"]
    assert (reason, message) == (
        UNSUPPORTED,
        f"spec.model.source: the tokenizer of hf://acme/base counts its tokens up to {rows + 1} ([SHOP]), and there "
        f"are {rows} embeddings, numbered from 0; resize the embeddings (resize_token_embeddings) and save the "
        f"model, or take the tokens out",
    )


def test_a_guide_is_looked_at_like_the_model(tmp_path: Path) -> None:
    guide = Loss.model_validate({"name": "GISTEmbedLoss", "guide": {"source": "hf://acme/guide"}}).guide
    assert guide is not None
    folder = Workspace(tmp_path).other_model(guide.source, guide.revision)
    folder.parent.mkdir(parents=True)
    build_with_tokens(folder)

    found = check_tokens(load_guide(guide, Workspace(tmp_path), device=torch.device("meta")), path="p", source="g")

    assert [problem.message.partition(" counts")[0] for problem in found] == ["p: the tokenizer of g"]


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    assert refusal(tmp_path, build_adapter) == (
        UNSUPPORTED,
        "spec.model.source: hf://acme/base is an adapter of acme/base without weights of its own; merge it into "
        "that and save the whole, or name that model and train an adapter with spec.model.lora",
    )


def build_whole_with(*names: str, build: Any = build_adapter) -> Any:  # noqa: ANN401 - as above
    """Return what writes a whole model with what `build` writes in folders inside, of which no module is one."""

    def build_whole(folder: Path) -> None:
        plain = folder.parent / "plain"
        made(plain)
        SentenceTransformer(str(plain), device="cpu").save(str(folder))
        for name in names:
            build(folder / name)

    return build_whole


@pytest.mark.parametrize("builder", ["saved by the library", "weights alone"])
def test_a_whole_model_with_adapters_in_folders_of_their_own_is_a_model(tmp_path: Path, builder: str) -> None:
    def build(folder: Path) -> None:
        build_whole_with("lora", "checkpoint-5")(folder)
        if builder == "weights alone":
            (folder / "modules.json").unlink()

    assert inspected(tmp_path, build) == []


def test_own_code_in_a_folder_that_is_not_loaded_is_none_of_the_model(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        made(folder)
        (folder / "checkpoint-5").mkdir()
        (folder / "checkpoint-5" / "config.json").write_text('{"auto_map": {}, "model_type": "acme"}')

    assert inspected(tmp_path, build) == []


def test_a_list_of_modules_that_is_none_is_the_folders_fault(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        made(folder)
        (folder / "modules.json").write_text("[1]")

    reason, message = refusal(tmp_path, build)

    assert (reason, message.partition(" (")[0]) == (
        UNSUPPORTED,
        "spec.model.source: Sentence Transformers cannot load hf://acme/base: a JSON file is broken",
    )


def test_an_adapter_in_the_folder_of_a_module_is_no_model(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        build_whole_with("0_Transformer")(folder)
        modules = json.loads((folder / "modules.json").read_text())
        (folder / "modules.json").write_text(json.dumps([modules[0] | {"path": "0_Transformer"}, *modules[1:]]))

    assert refusal(tmp_path, build)[1].startswith("spec.model.source: hf://acme/base is an adapter of acme/base ")


def test_an_adapter_for_a_route_is_no_model(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        part = folder.parent / "whole"
        build_whole_with()(part)
        routes = {name: list(SentenceTransformer(str(part), device="cpu")) for name in ("query", "document")}
        SentenceTransformer(modules=[Router.for_query_document(routes["query"], routes["document"])]).save(str(folder))
        (route,) = folder.rglob("query_0_Transformer")
        for path in route.glob("*.safetensors"):
            path.unlink()
        build_adapter(route)

    assert refusal(tmp_path, build)[1].startswith("spec.model.source: hf://acme/base is an adapter of acme/base ")


@pytest.mark.parametrize("content", ["{", "[]", '"text"', "\udcff"])
def test_an_adapter_with_a_broken_configuration_is_the_folders_fault(tmp_path: Path, content: str) -> None:
    def build(folder: Path) -> None:
        build_adapter(folder)
        (folder / "adapter_config.json").write_bytes(content.encode(errors="surrogateescape"))

    assert refusal(tmp_path, build) == (
        UNSUPPORTED,
        "spec.model.source: hf://acme/base is an adapter without weights of its own, and its adapter_config.json is no "
        "JSON object; save it again, or name a whole model",
    )


def test_a_whole_model_beside_a_broken_configuration_of_an_adapter_is_the_folders_fault(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        made(folder)
        (folder / "adapter_config.json").write_text("{")

    reason, message = refusal(tmp_path, build)

    assert (reason, message.partition(":")[0]) == (UNSUPPORTED, "spec.model.source")


@pytest.mark.parametrize("kind", ["whole", "adapter"])
def test_a_guide_is_refused_if_it_is_an_adapter_and_not_if_it_has_one_inside(tmp_path: Path, kind: str) -> None:
    guide = Loss.model_validate({"name": "GISTEmbedLoss", "guide": {"source": "hf://acme/guide"}}).guide
    assert guide is not None
    folder = Workspace(tmp_path).other_model(guide.source, guide.revision)
    folder.parent.mkdir(parents=True)
    (build_adapter if kind == "adapter" else build_whole_with("lora"))(folder)

    if kind == "whole":
        load_guide(guide, Workspace(tmp_path), device=torch.device("meta"))
        return
    with pytest.raises(RunFailure, match=r"guide\.source: hf://acme/guide is an adapter of acme/base"):
        load_guide(guide, Workspace(tmp_path), device=torch.device("meta"))


def test_texts_end_with_the_positions_of_a_model_whose_tokenizer_states_no_length(tmp_path: Path) -> None:
    notes = inspected(tmp_path, build_clip)

    model = loaded(tmp_path)
    embeddings = model.encode(["red " * 1000, "red " * 500])
    assert (notes, model.max_seq_length) == ([], 77)
    assert np.allclose(embeddings[0], embeddings[1], atol=1e-5)


def test_embeddings_that_depend_on_their_neighbours_are_told(tmp_path: Path) -> None:
    notes = inspected(tmp_path, made, processorKwargs={"padding_side": "left"})

    model = loaded(tmp_path, processorKwargs={"padding_side": "left"})
    texts = ["red", "a long text about a page with a red bar chart at the top"]
    assert not np.allclose(model.encode(texts)[0], model.encode(texts[:1])[0], atol=1e-3)
    assert notes == [
        "spec.model.source: hf://acme/base pads on the left and counts positions from there, so that an embedding "
        "depends on the texts beside it; set padding_side: right in processorKwargs"
    ]


def made(folder: Path) -> None:
    """Write a small text model."""
    build_bert(folder, seed=0)


PROMPT = "find the passage of a handbook that answers this question about house and garden best: "


@pytest.mark.parametrize("kind", ["Embedding", "Reranker"])
def test_an_instruction_that_leaves_no_place_for_a_text_is_refused(tmp_path: Path, kind: str) -> None:
    fields = {"kind": kind, "prompts": {"query": PROMPT}}
    needed = len(AutoTokenizer.from_pretrained(made_bert(tmp_path))(PROMPT)["input_ids"]) + (kind == "Reranker")
    what = "queries" if kind == "Embedding" else "pairs"

    reason, message = refusal(tmp_path, made, maxSeqLength=needed, **fields)
    told = inspected(tmp_path, made, maxSeqLength=2 * needed - 1, **fields)

    assert (reason, message) == (
        INVALID,
        f"spec.model.maxSeqLength: {needed} is wrong because the instruction and the special tokens of {what} take "
        f"{needed} tokens and leave none for a text; shorten spec.model.prompts, or give more than {needed}",
    )
    assert told == [
        f"spec.model.prompts: the instruction and the special tokens of {what} take {needed} of {2 * needed - 1} "
        f"tokens, so that less than half is left for a text; shorten it or raise spec.model.maxSeqLength"
    ]
    assert inspected(tmp_path, made, maxSeqLength=2 * needed, **fields) == []


def made_bert(root: Path) -> Path:
    folder = Workspace(root).base_model
    folder.parent.mkdir(parents=True)
    build_bert(folder, seed=0)
    return folder
