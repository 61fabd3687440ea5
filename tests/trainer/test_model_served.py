"""A saved text model states what servers start with, and its own library reads it as the same model; others do not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer

from finetune_cli.models.described import describe
from finetune_cli.models.servers import choose
from finetune_trainer.train.checkpoints.save import save_model
from tests.cli.test_download import publish
from tests.hub import RunningHub
from tests.trainer.model_folders import CLIP, STATIC, VLM, load, text_folder

SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2}
ROTATED = {"vocab_size": 30522, "pad_token_id": 0, "bos_token_id": 101, "eos_token_id": 102}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SIZE,
    "camembert": SIZE,
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "modernbert": SIZE | ROTATED | {"cls_token_id": 101, "sep_token_id": 102},
    "mpnet": SIZE,
    "roberta": SIZE,
    "xlm-roberta": SIZE,
}
#: What TEI 1.9.3 does not parse a configuration without: backends/candle/src/models, structs BertConfig and so on.
BERT = {
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("hidden_dropout_prob", "max_position_embeddings", "initializer_range", "layer_norm_eps"),
}
ASKED: dict[str, set[str]] = {
    **dict.fromkeys(("bert", "camembert", "roberta", "xlm-roberta"), BERT | {"type_vocab_size", "pad_token_id"}),
    "distilbert": {
        *("vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "activation", "max_position_embeddings"),
        "pad_token_id",
    },
    "modernbert": {
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("hidden_activation", "max_position_embeddings", "initializer_range", "initializer_cutoff_factor", "norm_eps"),
        *("norm_bias", "pad_token_id", "eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id"),
        *("global_rope_theta", "attention_bias", "attention_dropout", "global_attn_every_n_layers", "local_attention"),
        *("local_rope_theta", "classifier_activation"),
    },
    "mpnet": BERT | {"attention_probs_dropout_prob", "relative_attention_num_buckets"},
}
TEXTS = ["which page has a red chart?", "blue"]


def build(family: str, folder: Path, **fields: object) -> Transformer:
    """Return a tiny transformer of a family with random weights, which cuts texts after 64 tokens."""
    tokenizer = AutoTokenizer.from_pretrained(text_folder())
    config = CONFIG_MAPPING[family](**FAMILIES[family] | {"vocab_size": len(tokenizer)} | fields)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformer = Transformer(str(folder))
    transformer.max_seq_length = 64
    return transformer


def encoder(transformer: Transformer, *, pooling: Any = "mean") -> SentenceTransformer:  # noqa: ANN401 - of the library
    modules = [transformer, Pooling(32, pooling_mode=pooling), Normalize()]
    return SentenceTransformer(modules=modules, device="cpu", similarity_fn_name="cosine")


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_bytes())
    return content


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_model_is_saved_with_all_that_tei_starts_with(family: str, tmp_path: Path) -> None:
    model = encoder(build(family, tmp_path / "base"))

    save_model(model, tmp_path / "saved")

    lengths = read(tmp_path / "saved" / "sentence_bert_config.json")
    assert (lengths["max_seq_length"], lengths["do_lower_case"]) == (64, False)
    assert read(tmp_path / "saved" / "1_Pooling" / "config.json") == {
        "embedding_dimension": 32,
        "pooling_mode": "mean",
        "include_prompt": True,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_lasttoken": False,
    }
    config = read(tmp_path / "saved" / "config.json")
    assert {name for name in ASKED[family] if config.get(name) is None} == set()
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))
    assert again.max_seq_length == 64


def test_a_text_model_that_was_published_is_served_by_tei(
    tmp_path: Path, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    folder = tmp_path / "saved"
    save_model(encoder(build("modernbert", tmp_path / "base"), pooling="cls"), folder)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    commit = publish(hub, files)

    server = choose(describe("acme/better", commit), repository="acme/better", commit=commit)

    assert (server.name, server.arguments[2]) == ("TEI", "--pooling=cls")


def test_a_reranker_states_how_long_its_pairs_may_be(tmp_path: Path) -> None:
    build("bert", tmp_path / "base")
    model = CrossEncoder(str(tmp_path / "base"), num_labels=1, max_length=64, device="cpu")

    save_model(model, tmp_path / "saved")

    assert read(tmp_path / "saved" / "sentence_bert_config.json")["max_seq_length"] == 64
    again = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    pairs = [(TEXTS[0], "the red chart"), (TEXTS[1], "red")]
    np.testing.assert_array_equal(again.predict(pairs), model.predict(pairs))


def test_no_more_tokens_are_stated_than_there_are_positions(tmp_path: Path) -> None:
    """RoBERTa counts from the padding token's place on, and TEI fails at start behind the last position."""
    transformer = build("roberta", tmp_path / "base", max_position_embeddings=66)
    transformer.max_seq_length = 66

    save_model(encoder(transformer), tmp_path / "saved")

    assert read(tmp_path / "saved" / "sentence_bert_config.json")["max_seq_length"] == 64


def test_the_older_names_of_a_rotated_model_tell_the_truth_or_nothing(tmp_path: Path) -> None:
    local, all_over = {"rope_type": "default", "rope_theta": 500.0}, {"rope_type": "default", "rope_theta": 8000.0}
    ropes = {"sliding_attention": local, "full_attention": all_over}
    told = build("modernbert", tmp_path / "told", layer_types=["full_attention", "sliding_attention"] * 2)
    untold = build("modernbert", tmp_path / "untold", layer_types=["full_attention"] * 2 + ["sliding_attention"] * 2)
    names = ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta")
    found = []

    for transformer, folder in ((told, tmp_path / "first"), (untold, tmp_path / "second")):
        transformer.model.config.rope_parameters = ropes
        save_model(encoder(transformer), folder)
        config = read(folder / "config.json")
        found.append(tuple(config.get(name) for name in names))

    assert found == [(2, 8000.0, 500.0), (None, None, None)]


@pytest.mark.parametrize("source", [CLIP, STATIC, VLM])
def test_a_model_that_tei_cannot_load_is_saved_as_its_library_does(source: str, tmp_path: Path) -> None:
    model = load(tmp_path, source=source)
    model.save_pretrained(str(tmp_path / "library"), create_model_card=False)

    save_model(model, tmp_path / "saved")

    names = {file.relative_to(tmp_path / "library") for file in (tmp_path / "library").rglob("*.json")}
    assert {file.relative_to(tmp_path / "saved") for file in (tmp_path / "saved").rglob("*.json")} == names
    assert {name for name in names if read(tmp_path / "saved" / name) != read(tmp_path / "library" / name)} == set()


def test_two_ways_of_pooling_at_once_are_not_stated_as_one(tmp_path: Path) -> None:
    save_model(encoder(build("bert", tmp_path / "base"), pooling=("cls", "mean")), tmp_path / "saved")

    assert set(read(tmp_path / "saved" / "1_Pooling" / "config.json")) == {
        *("embedding_dimension", "pooling_mode", "include_prompt"),
    }
