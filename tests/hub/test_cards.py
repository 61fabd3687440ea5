import pytest
from huggingface_hub import CommitOperationAdd, EvalResult, HfApi, ModelCard, ModelCardData

from tests.hub import RunningHub
from tests.hub.card import check_card

RESULT = EvalResult(
    task_type="information-retrieval",
    dataset_type="unknown",
    dataset_name="held out",
    metric_type="ndcg@10",
    metric_value=0.9,
)


def card(metadata: str) -> str:
    return f"---\n{metadata}\n---\n# Title\n"


def test_a_card_as_the_client_makes_it_is_accepted_and_shown(api: HfApi) -> None:
    data = ModelCardData(
        license="apache-2.0",
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        base_model="acme/base",
        tags=["retrieval"],
        model_name="model",
        eval_results=[RESULT],
    )
    api.create_repo("demo/model")

    api.create_commit(
        "demo/model",
        [CommitOperationAdd("README.md", str(ModelCard(f"---\n{data}\n---\n# Title")).encode())],
        commit_message="Card",
    )

    info = api.model_info("demo/model")
    assert info.card_data is not None
    assert (info.card_data.base_model, info.card_data.eval_results) == ("acme/base", [RESULT])
    assert info.tags == [
        "sentence-transformers",
        "sentence-similarity",
        "retrieval",
        "license:apache-2.0",
        "region:us",
    ]


def test_bad_metadata_is_refused_before_anything_is_uploaded(api: HfApi, hub: RunningHub) -> None:
    api.create_repo("demo/model")
    hub.clear()

    with pytest.raises(ValueError, match='"license" must be one of'):
        api.upload_file(path_or_fileobj=card("license: mine").encode(), path_in_repo="README.md", repo_id="demo/model")

    assert hub.calls() == ["POST /api/validate-yaml 400"]


def test_a_card_without_metadata_is_accepted_with_a_warning(api: HfApi) -> None:
    api.create_repo("demo/model")

    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api.upload_file(path_or_fileobj=b"# Title", path_in_repo="README.md", repo_id="demo/model")

    assert api.file_exists("demo/model", "README.md")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("license: mit", []),
        ("{}", []),
        ("license: [mit, apache-2.0]\nlanguage: en\ntags: [a]", []),
        ("- a list", ["YAML Metadata Error: the metadata must be an object"]),
        ("tags: [1]", ['"tags" must be a string or an array of strings']),
        ("pipeline_tag: [a]", ['"pipeline_tag" must be a string']),
        (
            "base_model: /workspace/model",
            ['"base_model" with value "/workspace/model" is not valid. Use a model id from https://hf.co/models.'],
        ),
        ("model-index: {}", ['"model-index" must be an array']),
        ("model-index: [{name: m}]", ['"model-index[0].results" is required']),
        (
            "model-index: [{name: m, results: [{task: {type: t}, dataset: {name: d}, metrics: [{type: n}]}]}]",
            [
                '"model-index[0].results[0].dataset.type" is required',
                '"model-index[0].results[0].metrics[0].value" is required',
            ],
        ),
    ],
)
def test_metadata_is_checked_field_by_field(metadata: str, expected: list[str]) -> None:
    verdict = check_card(card(metadata), kind="model")

    assert verdict.errors == expected
