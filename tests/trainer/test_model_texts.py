"""A text that looks like the name of an image stays a text, in every kind of model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from finetune_trainer.prepare.images.shards import ShardWriter
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.recipe.model.tokens import media_tokens
from tests.trainer.model_folders import EMBEDDER, TEXT, VLM, load, red_page
from tests.trainer.test_model_paths import ENCODERS, RERANKERS

FLAT = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"


@pytest.fixture
def looks(tmp_path: Path) -> list[str]:
    """Texts that the library would open or fetch."""
    Image.new("RGB", (64, 64)).save(tmp_path / "chart.png")
    shards = ShardWriter(tmp_path)
    shards.add("chart.png", (tmp_path / "chart.png").read_bytes(), extension="png")
    shards.close()
    return [
        str(tmp_path / "chart.png"),
        "http://127.0.0.1:9/chart.png",
        "data:image/png;base64,AAAA",
        "https://www.youtube.com/watch?v=1",
        str(tmp_path / "chart.png").upper(),
    ]


def features_of(model: Any, inputs: list[Any]) -> set[str]:  # noqa: ANN401 - a model of the library
    return set(model.preprocess(inputs, task="query"))


@pytest.mark.parametrize(
    "fields",
    [{"source": EMBEDDER}, {"source": VLM}, {"source": TEXT}, ENCODERS["router by modality"]],
    ids=["saved multimodal", "fresh multimodal", "text only", "router by modality"],
)
def test_an_encoder_reads_it_as_text(fields: dict[str, Any], looks: list[str], tmp_path: Path) -> None:
    model = load(tmp_path, **fields)
    reader = InputReader.of(model, images=tmp_path)
    inputs = [reader.read(text, "text") for text in looks]

    assert not features_of(model, inputs) & {"pixel_values", "pixel_values_videos"}
    found, plain = model.encode_query(inputs), model.encode_query(["a plain text"])
    assert np.isfinite(found).all()
    assert found.shape == (len(looks), plain.shape[1])


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"source": EMBEDDER}, ("<|image_pad|>", "<|video_pad|>")),
        ({"source": VLM}, ("<|image_pad|>", "<|video_pad|>")),
        ({"source": TEXT}, ()),
        (ENCODERS["router by modality"], ()),
        ({"kind": "Reranker", **RERANKERS["language model head"]}, ("<|image_pad|>", "<|video_pad|>")),
    ],
    ids=["saved multimodal", "fresh multimodal", "text only", "router by modality", "reranker"],
)
def test_the_tokens_of_media_are_those_that_make_the_processor_fail(
    fields: dict[str, Any], tokens: tuple[str, ...], tmp_path: Path
) -> None:
    model = load(tmp_path, **fields)

    assert media_tokens(model) == tokens
    for token in tokens:
        with pytest.raises(ValueError, match="tokens in the text but no"):
            model.preprocess([(f"What is {token}?", "a token") if "kind" in fields else f"What is {token}?"])


def test_an_image_cell_is_an_image_beside_such_texts(looks: list[str], tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER)
    reader = InputReader.of(model, images=tmp_path)

    assert "pixel_values" in features_of(model, [reader.read("chart.png", "image")])


def test_a_router_by_modality_sends_it_to_the_text_encoder(looks: list[str], tmp_path: Path) -> None:
    model = load(tmp_path, **ENCODERS["router by modality"])
    reader = InputReader.of(model, images=tmp_path)
    inputs = [reader.read(text, "text") for text in looks]

    assert model.preprocess(inputs, task="query")["modality"] == "text"
    assert model.preprocess(inputs, task="text")["modality"] == "text"
    assert model.preprocess([red_page()], task="image")["modality"] == "image"


@pytest.mark.parametrize("path", ["text model with a new head", "language model head", "dense head on the last token"])
def test_a_reranker_reads_both_halves_of_a_pair_as_text(path: str, looks: list[str], tmp_path: Path) -> None:
    model = load(tmp_path, kind="Reranker", **RERANKERS[path])
    reader = InputReader.of(model, images=tmp_path)
    pairs = [(reader.read(text, "text"), reader.read(other, "text")) for text in looks for other in ("plain", text)]

    assert not features_of(model, pairs) & {"pixel_values", "pixel_values_videos"}
    assert np.isfinite(model.predict(pairs)).all()


@pytest.mark.parametrize("path", ["language model head", "dense head on the last token"])
def test_a_reranker_scores_such_a_text_like_any_other(path: str, tmp_path: Path) -> None:
    model = load(tmp_path, kind="Reranker", **RERANKERS[path])
    reader = InputReader.of(model, images=tmp_path)
    url = "http://127.0.0.1:9/chart.png"

    wrapped = model.preprocess([(reader.read(url, "text"), reader.read("a", "text"))])
    plain = model.preprocess([(f" {url}", "a")])

    decode = model.tokenizer.decode
    assert decode(wrapped["input_ids"][0]) == decode(plain["input_ids"][0]).replace(f" {url}", url)


def test_a_reranker_with_an_image_in_the_pair_reads_the_other_half_as_text(looks: list[str], tmp_path: Path) -> None:
    model = load(tmp_path, kind="Reranker", **RERANKERS["language model head"])
    reader = InputReader.of(model, images=tmp_path)
    pairs = [(reader.read(text, "text"), reader.read("chart.png", "image")) for text in looks]

    assert model.preprocess(pairs)["num_images_per_sample"].tolist() == [1] * len(looks)


def test_a_template_that_takes_plain_strings_gets_plain_strings(looks: list[str], tmp_path: Path) -> None:
    model = load(tmp_path, kind="Reranker", **RERANKERS["language model head"], processorKwargs={"chat_template": FLAT})
    reader = InputReader.of(model, images=tmp_path)
    pairs = [(reader.read(text, "text"), reader.read(text, "text")) for text in looks]

    features = model.preprocess(pairs)

    rendered = [model.tokenizer.decode(ids, skip_special_tokens=True) for ids in features["input_ids"]]
    assert [text.count(look) for text, look in zip(rendered, looks, strict=True)] == [2] * len(looks)
    assert "pixel_values" not in features
