"""What prepare says about a model that cannot be what the spec wants: field path, cause and fix, all at once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.model import inspect_model
from finetune_trainer.prepare.checks.parameters import check_learning_rates
from finetune_trainer.train.checkpoints.save import save_model
from finetune_trainer.workspace.failures import RunFailure
from tests.trainer.model_folders import CHATTING_VLM, EMBEDDER, RERANKER, STATIC, TEXT, VIT, VLM, load, prepare_models
from tests.trainer.test_model_paths import ANY_TO_ANY, LAST_TOKEN

INVALID, UNSUPPORTED = Reason.INVALID_ARGUMENT, Reason.UNSUPPORTED_MODEL
TRANSFORMER, POOLING = {"type": "Transformer"}, {"type": "Pooling"}


def refusal(root: Path, **fields: Any) -> tuple[Reason, str]:  # noqa: ANN401 - fields of spec.model
    spec, workspace = prepare_models(root, **fields)
    with pytest.raises(RunFailure) as caught:
        inspect_model(spec, workspace)
    return caught.value.reason, caught.value.message


def dense(**arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - arguments of a module
    return {"type": "Dense", "arguments": arguments}


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        (
            {"modules": [TRANSFORMER, POOLING, dense(out_feature=8)]},
            INVALID,
            "2 problems. 1) spec.model.modules[2].arguments.out_feature: 8 is wrong because Dense has no such argument "
            "that a manifest can give; did you mean out_features or in_features? 2) "
            "spec.model.modules[2].arguments.out_features: None is wrong because Dense needs it; give it",
        ),
        (
            {"modules": [POOLING, TRANSFORMER]},
            INVALID,
            "2 problems. 1) spec.model.modules[0].type: 'Pooling' is wrong because the first module, and only that, is "
            "one "
            "of Transformer, CLIPModel, StaticEmbedding, which read the model at source; put it elsewhere 2) "
            "spec.model.modules[1].type: 'Transformer' is wrong because the first module, and only that, is one of "
            "Transformer, CLIPModel, StaticEmbedding, which read the model at source; put it elsewhere",
        ),
        (
            {"modules": [TRANSFORMER, POOLING, dense(out_features=8, activation_function="Gelus")]},
            INVALID,
            "spec.model.modules[2].arguments.activation_function: 'Gelus' is wrong because torch.nn has no such "
            "module; "
            "try Identity or GELU",
        ),
        (
            {"modules": [TRANSFORMER, {"type": "Pooling", "arguments": {"pooling_mode": "median"}}]},
            INVALID,
            "spec.model.modules[1].arguments.pooling_mode: 'median' is wrong because it is of a wrong kind or size: "
            "input should be 'cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean' or 'lasttoken'; "
            "correct it, or leave it out for the library's 'mean'",
        ),
        (
            {"modules": [TRANSFORMER, dense(out_features=8)]},
            UNSUPPORTED,
            "spec.model.modules[1]: is wrong because Dense reads sentence_embedding, but the modules before it make "
            "token_embeddings; put in what makes it",
        ),
        (
            {"modules": [TRANSFORMER]},
            UNSUPPORTED,
            "spec.model.modules: they give token_embeddings and no single embeddings; add Pooling, or use an embedding "
            "model",
        ),
        (
            {"modules": [ANY_TO_ANY, {"type": "LogitScore", "arguments": {}}]},
            INVALID,
            "2 problems. 1) spec.model.modules[1].type: 'LogitScore' is wrong because it makes scores of pairs; set "
            "spec.model.kind to Reranker 2) spec.model.modules[1].arguments.true_token: None is wrong because "
            "LogitScore needs it; give it",
        ),
        (
            {"modelKwargs": {"trust_remote_code": True, "torch_dtype": "float16"}},
            INVALID,
            "2 problems. 1) spec.model.modelKwargs.trust_remote_code: True is wrong because it is not the manifest's "
            "to give; code of a model is never run; use a model that needs none 2) "
            "spec.model.modelKwargs.torch_dtype: 'float16' is wrong because it is not the manifest's to give; "
            "say it in spec.model.dtype",
        ),
        (
            {"processorKwargs": {"min_pixels": 784}},
            INVALID,
            "spec.model.processorKwargs.min_pixels: 784 is wrong because it is not the manifest's to give; "
            "write size: {shortest_edge: PIXELS, longest_edge: PIXELS}",
        ),
        (
            {
                "modules": [
                    {"type": "Transformer", "arguments": {"config_kwargs": {"trust_remote_code": True}}},
                    POOLING,
                ]
            },
            INVALID,
            "spec.model.modules[0].arguments.config_kwargs.trust_remote_code: True is wrong because it is not the "
            "manifest's to give; code of a model is never run; use a model that needs none",
        ),
        (
            {"modalities": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}},
            INVALID,
            "spec.model.modalities: cannot be given because hf://real/all-minilm-l6-v2 was saved with its own; leave "
            "them out, or list spec.model.modules",
        ),
        (
            {"attention": "flash_attention_2"},
            UNSUPPORTED,
            "spec.model.attention: flash_attention_2 is wrong because flash_attn is not installed in the trainer "
            "image; "
            "use auto, or an image that has it",
        ),
        (
            {"lora": {"targetModules": ["query", "values"]}},
            INVALID,
            "spec.model.lora.targetModules[1]: 'values' is wrong because no linear layer and no convolution has this "
            "name; did you mean value?",
        ),
        (
            {"freeze": ["0.model.embedings.*", "0.model.encoder.layer.[0-3].*"]},
            INVALID,
            "spec.model.freeze[0]: '0.model.embedings.*' is wrong because no parameter has such a name; did you mean "
            "0.model.embeddings.* or 0.model.embeddings.LayerNorm.* or 0.model.embeddings.word_embeddings.*?",
        ),
        ({"freeze": ["*"]}, INVALID, "spec.model.freeze[0]: leaves nothing to train; freeze less"),
    ],
)
def test_an_encoder_is_refused(fields: dict[str, Any], reason: Reason, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, source=TEXT, **fields) == (reason, message)


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        (
            {
                "source": VLM,
                "numLabels": 3,
                "modules": [ANY_TO_ANY, {"type": "LogitScore", "arguments": {"true_token": "1"}}],
            },
            INVALID,
            "spec.model.numLabels: 3 is wrong because the modules give 1; change one of them",
        ),
        (
            {"source": VLM, "modules": [TRANSFORMER, LAST_TOKEN, dense(out_features=1)]},
            UNSUPPORTED,
            "spec.model.modules: they give sentence_embedding, token_embeddings and no scores of pairs; end with "
            "LogitScore, or with Dense and module_output_name scores",
        ),
        (
            {
                "source": VLM,
                "lora": {"targetModules": ["lm_head"]},
                "modules": [ANY_TO_ANY, {"type": "LogitScore", "arguments": {"true_token": "1"}}],
            },
            INVALID,
            "spec.model.lora.targetModules[0]: 'lm_head' is wrong because its weights are also those of the input "
            "embeddings; leave it out",
        ),
    ],
)
def test_a_reranker_is_refused(fields: dict[str, Any], reason: Reason, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, kind="Reranker", **fields) == (reason, message)


def test_a_vision_language_model_without_modules_is_no_reranker(tmp_path: Path) -> None:
    reason, message = refusal(tmp_path, kind="Reranker", source=VLM)

    assert reason is UNSUPPORTED
    assert message.startswith(
        "spec.model.source: Sentence Transformers cannot load hf://tiny/qwen3-vl as a reranker (a vision-language "
        "model "
        "needs modules: Transformer with transformer_task any-to-any and LogitScore): ValueError: "
    )


def test_a_chat_template_that_cannot_carry_a_pair_is_refused(tmp_path: Path) -> None:
    reason, message = refusal(
        tmp_path,
        kind="Reranker",
        source=CHATTING_VLM,
        modules=[ANY_TO_ANY, {"type": "LogitScore", "arguments": {"true_token": "1"}}],
        processorKwargs={
            "chat_template": "{% for message in messages if message.role in ['user'] %}"
            "{{ message.content[0].text }}{% endfor %}"
        },
    )

    assert reason is UNSUPPORTED
    assert message == (
        "spec.model.source: the chat template cannot carry a pair (the 'query' and 'document' content does not reach "
        "the "
        "rendered prompt); give a template that renders the roles query and document in "
        "spec.model.processorKwargs.chat_template"
    )


def test_a_saved_reranker_is_no_embedding_model(tmp_path: Path) -> None:
    assert refusal(tmp_path, source=RERANKER) == (
        UNSUPPORTED,
        "spec.model.kind: Embedding is wrong because hf://tiny/reranker is a CrossEncoder; set spec.model.kind to "
        "Reranker",
    )


def test_routes_must_give_embeddings_of_one_size_for_their_own_modality(tmp_path: Path) -> None:
    routes = {"text": {"source": VIT, "modules": [TRANSFORMER, POOLING]}, "image": {"source": TEXT}}

    assert refusal(tmp_path, router={"routes": routes}) == (
        INVALID,
        "3 problems. 1) spec.model.router.routes: their embeddings differ in size (text 192, image 384); add Dense "
        "with "
        "out_features 2) spec.model.router.routes.text: its model takes image only 3) spec.model.router.routes.image: "
        "its model takes text only",
    )


def test_a_router_has_no_arguments_for_all_its_models(tmp_path: Path) -> None:
    router = {"routes": {"text": {"source": TEXT}, "image": {"source": VIT, "modules": [TRANSFORMER, dense(size=1)]}}}

    assert refusal(tmp_path, router=router, processorKwargs={"size": 224}) == (
        INVALID,
        "3 problems. 1) spec.model.router.routes.image.modules[1].arguments.size: 1 is wrong because Dense has no such "
        "argument that a manifest can give; choose among activation_function, bias, false_token, in_features, "
        "module_input_name, module_output_name, out_features, true_token, use_residual 2) "
        "spec.model.router.routes.image.modules[1].arguments.out_features: None is wrong because Dense needs it; "
        "give it 3) spec.model.processorKwargs: {'size': 224} is wrong because a router has several models; write "
        "processor_kwargs into the arguments of a route's Transformer",
    )


def test_every_route_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    spec, workspace = prepare_models(tmp_path, router={"routes": {"text": {"source": TEXT}, "image": {"source": VIT}}})
    for route in (spec.router.routes if spec.router else {}).values():
        weights = workspace.other_model(route.source, route.revision) / "model.safetensors"
        weights.unlink()

    with pytest.raises(RunFailure) as caught:
        inspect_model(spec, workspace)

    assert caught.value.reason is UNSUPPORTED
    assert "1) spec.model.router.routes.text.source: Sentence Transformers cannot load" in caught.value.message
    assert "2) spec.model.router.routes.image.source: Sentence Transformers cannot load" in caught.value.message


def test_a_saved_router_that_users_could_not_load_again_is_refused_too(tmp_path: Path) -> None:
    image = {"source": VIT, "modules": [TRANSFORMER, POOLING, dense(out_features=384)]}
    router = load(tmp_path / "made", router={"routes": {"text": {"source": TEXT}, "image": image}})
    spec, workspace = Model.model_validate({"source": STATIC, "dtype": "bfloat16"}), Workspace(tmp_path / "saved")
    save_model(router, workspace.base_model)

    with pytest.raises(
        RunFailure, match=r"spec\.model\.dtype: bfloat16 is wrong because Sentence Transformers would load"
    ):
        inspect_model(spec, workspace)


def test_modules_that_a_manifest_cannot_list_are_known_to_work_where_they_were_saved(tmp_path: Path) -> None:
    tokenizer = WhitespaceTokenizer(["blue", "red"])
    vectors = WordEmbeddings(tokenizer, torch.eye(2, 4).numpy(), update_embeddings=True)
    spec, workspace = Model.model_validate({"source": STATIC}), Workspace(tmp_path)
    SentenceTransformer(modules=[vectors, Pooling(4)]).save_pretrained(
        str(workspace.base_model), create_model_card=False
    )

    assert inspect_model(spec, workspace).embedding_dimension == 4


def test_a_router_that_users_could_not_load_again_is_refused(tmp_path: Path) -> None:
    image = {"source": VIT, "modules": [TRANSFORMER, POOLING, dense(out_features=384)]}

    assert refusal(tmp_path, router={"routes": {"text": {"source": TEXT}, "image": image}}, dtype="bfloat16") == (
        INVALID,
        "spec.model.dtype: bfloat16 is wrong because Sentence Transformers would load the modules after a route's "
        "Transformer in float32 again; use float32",
    )


def test_word_vectors_beside_images_are_refused(tmp_path: Path) -> None:
    routes = {
        "text": {"source": STATIC},
        "image": {"source": VIT, "modules": [TRANSFORMER, POOLING, dense(out_features=384)]},
    }

    assert refusal(tmp_path, router={"routes": routes}) == (
        UNSUPPORTED,
        "spec.model.router.routes.text: StaticEmbedding is wrong because beside a route with images the library would "
        "take some texts for names of images; use Transformer",
    )


def test_a_limit_that_a_model_does_not_have_is_refused(tmp_path: Path) -> None:
    reason, message = refusal(tmp_path, source=STATIC, maxSeqLength=64)

    assert (reason, message.partition(" (")[0].partition(": A")[0]) == (
        INVALID,
        "spec.model.maxSeqLength: this model has no such limit",
    )


def test_modules_of_its_own_make_a_model_unusable(tmp_path: Path) -> None:
    spec, workspace = prepare_models(tmp_path, source=STATIC)
    listed = workspace.base_model / "modules.json"
    modules = json.loads(listed.read_text())
    listed.write_text(json.dumps([module | {"type": "mine.Module"} for module in modules]))

    with pytest.raises(RunFailure) as caught:
        inspect_model(spec, workspace)

    assert caught.value.message == (
        "spec.model.source: hf://tiny/static needs code of its own, which is never run; use a model that needs none"
    )


def test_learning_rates_are_looked_up_as_the_loss_sees_the_names(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER, freeze=["0.model.visual.*"])
    rates = {
        r"language_model\.layers\.1\.": 1e-3,
        r"^model\.0\.": 1e-4,
        r"visual": 1e-5,
        r"langauge_model\.norm": 1e-5,
    }

    found = [problem.message for problem in check_learning_rates(rates, model)]

    assert found == [
        "spec.training.learningRates['visual']: is wrong because all that it matches is frozen; leave it out or freeze "
        "less",
        "spec.training.learningRates['langauge_model\\\\.norm']: is wrong because it matches no parameter; did you "
        "mean "
        "model.0.model.language_model.norm or model.0.model.language_model.norm.weight?",
    ]
    assert check_learning_rates({"classifier": 1e-3}, model, loss_weights=True) == []


def test_with_several_datasets_the_names_that_losses_see_begin_with_the_first(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER)

    (found,) = check_learning_rates({"^model": 1e-3, "^pages.model": 1e-3}, model, datasets=["pages", "queries"])

    assert found.message.startswith("spec.training.learningRates['^model']: is wrong because it matches no parameter; ")
