from decimal import Decimal
from typing import Any

import pytest

from finetune_api.problem import Problem
from finetune_api.problems import check_spec, parse_job
from finetune_api.quantities import parse_quantity
from finetune_api.sources import BucketSource, ClaimSource, HubSource, parse_source
from finetune_api.splits import check_split
from finetune_api.types import FinetuneJob
from tests.api import pod_templates
from tests.api.conftest import MINIMAL
from tests.stack.jobs import change


def test_every_wrong_field_is_told_at_once_with_its_path_and_value(minimal: dict[str, Any]) -> None:
    minimal["spec"]["training"] = {"learningRate": 7, "sed": 1}
    minimal["spec"]["resources"] = {"nodes": 0}

    problems = parse_job(minimal)

    assert isinstance(problems, list)
    assert [(problem.path, problem.value) for problem in problems] == [
        ("spec.training.learningRate", 7),
        ("spec.training.sed", 1),
        ("spec.resources.nodes", 0),
    ]


def test_what_no_schema_can_state_is_told_at_once(minimal: dict[str, Any]) -> None:
    minimal["spec"]["resources"] = {"sharedMemory": "8Gi", "requests": {"memory": "4Gi"}}
    minimal["spec"]["data"]["train"][0]["columns"] = {"query": "text", "positive": "text", "images": ["page", "text"]}
    minimal["spec"]["data"]["evaluation"] = [{"name": "pages", "source": "hf://acme/pages", "columns": {}}]
    job = parse_job(minimal)
    assert isinstance(job, FinetuneJob)

    problems = check_spec(job.spec)

    assert [str(problem) for problem in problems] == [
        "spec.data.evaluation[0].name: 'pages' is wrong because spec.data.train[0].name is the same; "
        "give every dataset a name of its own",
        "spec.resources.sharedMemory: '8Gi' is wrong because shared memory counts towards the pod's memory of 4Gi; "
        "lower sharedMemory or raise resources.requests.memory",
        "spec.data.train[0].columns: ['text', 'text'] is wrong because one column plays two parts; "
        "name a different column for each part",
        "spec.data.train[0].columns.images: ['page', 'text'] is wrong because page plays no part that can be an image; "
        "name columns of queries or documents",
    ]


def test_amounts_that_cannot_work_are_told_with_the_unit_that_may_be_meant(minimal: dict[str, Any]) -> None:
    minimal["spec"]["resources"] = {"sharedMemory": "2", "requests": {"memory": "16", "cpu": "4m"}}
    minimal["spec"]["storage"] = {"size": "50"}
    job = parse_job(minimal)
    assert isinstance(job, FinetuneJob)

    assert [str(problem) for problem in check_spec(job.spec)] == [
        "spec.resources.requests.cpu: '4m' is wrong because 0.004 CPUs cannot work, 50m to 1k can; 4 may be meant",
        "spec.resources.requests.memory: '16' is wrong because 16 bytes cannot work, 128Mi to 64Ti can; 16Gi may be "
        "meant",
        "spec.resources.sharedMemory: '2' is wrong because 2 bytes cannot work, 1Mi to 64Ti can; 2Gi may be meant",
        "spec.storage.size: '50' is wrong because 50 bytes cannot work, 1Mi to 64Pi can; 50Gi may be meant",
    ]


@pytest.mark.parametrize(
    ("field", "amount", "said"),
    [
        ("cpu", "2000", "2000 CPUs cannot work, 50m to 1k can; 2000m may be meant"),
        ("cpu", "40m", "0.04 CPUs cannot work, 50m to 1k can; 40 may be meant"),
        ("cpu", "0", "0 CPUs cannot work, 50m to 1k can; choose an amount in between"),
        ("cpu", "0.01", "0.01 CPUs cannot work, 50m to 1k can; choose an amount in between"),
        ("memory", "0", "0 bytes cannot work, 128Mi to 64Ti can; choose an amount in between"),
        ("memory", "65536Mi", None),
        ("memory", "70000Gi", "75161927680000 bytes cannot work, 128Mi to 64Ti can; 70000Mi may be meant"),
        (
            "memory",
            "17179869184Gi",
            "18446744073709551616 bytes cannot work, 128Mi to 64Ti can; 17179869184 may be meant",
        ),
    ],
)
def test_only_an_amount_that_works_is_suggested(
    minimal: dict[str, Any], field: str, amount: str, said: str | None
) -> None:
    minimal["spec"]["resources"] = {"requests": {field: amount}, "sharedMemory": "1Mi"}
    job = parse_job(minimal)
    assert isinstance(job, FinetuneJob)

    found = [str(one) for one in check_spec(job.spec) if one.path == f"spec.resources.requests.{field}"]

    wrong = [f"spec.resources.requests.{field}: {amount!r} is wrong because {said}"]
    assert found == (wrong if said else [])


def test_contents_are_declared_once_and_of_columns_that_have_some(minimal: dict[str, Any]) -> None:
    tables = {"queries": {"split": "test"}, "corpus": {"split": "test", "images": True, "texts": True}}
    tables["relevantDocuments"] = {"split": "test"}
    minimal["spec"]["data"] = {
        "train": [{"name": "a", "source": "hf://a/b", "columns": {"images": ["positive"], "texts": ["positive", "x"]}}],
        "evaluation": [{"name": "b", "source": "hf://a/b", "tables": tables}],
    }
    job = parse_job(minimal)
    assert isinstance(job, FinetuneJob)

    assert [str(problem) for problem in check_spec(job.spec)] == [
        "spec.data.train[0].columns.texts: ['positive', 'x'] is wrong because x plays no part that can be a text; name "
        "columns of queries or documents",
        "spec.data.train[0].columns.texts: ['positive'] is wrong because values are either images by name or texts; "
        "say one of the two",
        "spec.data.evaluation[0].tables.corpus: 'images and texts' is wrong because values are either images by name "
        "or texts; say one of the two",
    ]


EMPTY = "a slice that ends where it begins, or before, has no rows; the first bound is counted in, the last one is not"


@pytest.mark.parametrize(
    "split", ["train[20:10]", "train[5:5]", "train[:0]", "train[-5:-10]", "train[60%:-50%]", "test+train[100%:]"]
)
def test_a_slice_without_rows_is_told(minimal: dict[str, Any], split: str) -> None:
    minimal["spec"]["data"]["train"][0]["split"] = split
    job = parse_job(minimal)
    assert isinstance(job, FinetuneJob)

    assert [str(problem) for problem in check_spec(job.spec)] == [
        f"spec.data.train[0].split: {split!r} is wrong because {EMPTY}; write for example train[10%:20%]"
    ]


def test_slices_of_evaluation_sets_and_tables_are_looked_at(minimal: dict[str, Any]) -> None:
    tables = {name: {"split": f"{name}[9:3]"} for name in ("queries", "corpus", "relevantDocuments")}
    minimal["spec"]["data"]["evaluation"] = [
        {"name": "rows", "source": "hf://acme/rows", "columns": {}, "split": "test[:0%]"},
        {"name": "tables", "source": "hf://acme/tables", "tables": tables},
    ]
    job = parse_job(minimal)
    assert isinstance(job, FinetuneJob)

    assert [problem.path for problem in check_spec(job.spec)] == [
        "spec.data.evaluation[0].split",
        *(f"spec.data.evaluation[1].tables.{name}.split" for name in tables),
    ]


@pytest.mark.parametrize(
    "split", ["train", "train[10%:-10%]", "train[-10:5]", "train[5:-10]", "train[-50%:60%]", "a+b"]
)
def test_a_slice_that_may_have_rows_is_left_to_prepare(split: str) -> None:
    assert list(check_split("spec.data.train[0].split", split)) == []


def test_a_set_that_is_held_out_has_a_name_of_its_own(minimal: dict[str, Any]) -> None:
    minimal["spec"]["data"]["train"][0]["holdOut"] = "5%"
    minimal["spec"]["data"]["evaluation"] = [{"name": "pages-held-out", "source": "hf://acme/pages", "columns": {}}]
    job = parse_job(minimal)
    assert isinstance(job, FinetuneJob)

    assert [str(problem) for problem in check_spec(job.spec)] == [
        "spec.data.train[0].holdOut: 'pages-held-out' is wrong because spec.data.evaluation[0].name is the same; "
        "give every dataset a name of its own"
    ]


def test_a_sound_spec_has_no_problems(minimal: dict[str, Any]) -> None:
    job = parse_job(minimal)
    assert isinstance(job, FinetuneJob)

    assert check_spec(job.spec) == []


def test_a_problem_reads_as_a_sentence() -> None:
    problem = Problem(path="spec.x", value=1, because="it is odd", fix="write 2")

    assert str(problem) == "spec.x: 1 is wrong because it is odd; write 2"


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", Decimal("0.5")), ("4", Decimal(4)), ("16Gi", Decimal(17179869184)), ("1.5k", Decimal(1500))],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: str, number: Decimal) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "16GB", "-1", "1e3", "Gi"])
def test_other_quantities_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def test_sources_name_a_repository_or_a_folder_on_a_claim() -> None:
    sources = [parse_source(text) for text in ("hf://acme/base", "pvc://claim", "pvc://claim/.a/b..c")]

    assert sources == [HubSource("acme/base"), ClaimSource("claim", ""), ClaimSource("claim", ".a/b..c")]


@pytest.mark.parametrize(
    ("text", "source", "shown"),
    [
        ("s3://data", BucketSource("s3", "data", ""), "s3://data"),
        ("gs://data_1/", BucketSource("gs", "data_1", ""), "gs://data_1"),
        (
            "az://data/year=2026/.hidden/",
            BucketSource("az", "data", "year=2026/.hidden"),
            "az://data/year=2026/.hidden",
        ),
    ],
)
def test_sources_name_what_lies_below_a_path_of_a_bucket(text: str, source: BucketSource, shown: str) -> None:
    assert parse_source(text) == source
    assert str(source) == shown


@pytest.mark.parametrize(
    "text",
    [
        "acme/base",
        "hf://base",
        "http://bucket/x",
        "s3://",
        "s3://Bucket/x",
        "s3://bucket//x",
        "gs://bucket/a/../b",
        "az://container/.",
        "pvc://claim/../other",
        "pvc://claim/a/..",
        "pvc://claim/.",
        "hf://a/b/c",
        "pvc://",
        "hf://a/b--c",
        "hf://a/b.git",
    ],
)
def test_other_sources_are_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ValueError, match="write hf://OWNER/NAME"):
        parse_source(text)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"podTemplate": {role: addition}}, f"spec.podTemplate.{role}{path}")
        for addition, path, _ in pod_templates.TOUCHED.values()
        for role in pod_templates.ROLES
    ]
    + [
        (
            {"podTemplate": {role: {"resources": {kind: {name: "1"}}}}},
            f"spec.podTemplate.{role}.resources.{kind}.{name}",
        )
        for role in ("all", "train")
        for kind, name in (
            ("requests", "cpu"),
            ("requests", "memory"),
            ("limits", "memory"),
            ("limits", "nvidia.com/gpu"),
        )
    ],
)
def test_what_a_pod_template_may_not_touch_is_told_without_an_api_server(changes: dict[str, Any], path: str) -> None:
    job = parse_job(change(MINIMAL, **changes))

    assert isinstance(job, FinetuneJob)
    assert [problem.path for problem in check_spec(job.spec)] == [path]


@pytest.mark.parametrize("case", pod_templates.ACCEPTED)
def test_a_pod_template_that_the_api_server_accepts_has_no_problem(case: str) -> None:
    job = parse_job(change(MINIMAL, **pod_templates.ACCEPTED[case]))

    assert isinstance(job, FinetuneJob)
    assert check_spec(job.spec) == []
