"""`finetune validate`: the API server's answers, without the API server, in words that say what to write."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from finetune_api.contract import ExitCode
from finetune_api.manifest import job_schema
from finetune_cli.main import main
from finetune_cli.manifest.checking import check, refusals
from finetune_cli.manifest.fields import PATTERNS
from finetune_cli.manifest.rules import evaluate
from finetune_cli.manifest.structure import as_sent, walk_schema
from finetune_cli.manifest.suggestions import suggest_value
from tests.api.conftest import MINIMAL
from tests.api.test_rules import ACCEPTED, REJECTED
from tests.stack.jobs import change

#: The API server's message: field, what kind of mistake, value, words.
THEIRS = re.compile(
    r'(?:unknown field ")?(?P<path>spec[.\w\[\]]*)"?(?:: \w+ value(?:: (?:"[^"]*"|\d+))?)?(?:: )?(?P<words>.*)'
)
#: Everything in the CRD that says what a value may be, and what says nothing about values.
KEYWORDS = {
    *("type", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("properties", "required", "items", "additionalProperties", "default", "description"),
    *("x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"),
}
#: How the API server begins what its schema, and no rule of ours, has found.
SCHEMA_WORDS = re.compile(r"spec\.\S+ in body |supported values: ")


def job(**changes: object) -> dict[str, Any]:
    return change(MINIMAL, **changes)


def told(**changes: object) -> list[str]:
    checked = check(job(**changes))
    assert isinstance(checked, list), checked
    return [one.text for one in checked]


def write(folder: Path, *documents: dict[str, Any]) -> str:
    file = folder / "job.yaml"
    file.write_text("---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents))
    return str(file)


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_api_server_accepts_is_not_refused(case: str) -> None:
    manifest = as_sent(job(**ACCEPTED[case]), job_schema())

    assert refusals(manifest) == []


@pytest.mark.parametrize("case", REJECTED)
def test_what_the_api_server_rejects_is_told_of_the_same_field_in_the_same_words(case: str) -> None:
    changes, message = REJECTED[case]
    theirs = THEIRS.fullmatch(message)
    path, words = (theirs["path"], theirs["words"]) if theirs else (None, message)
    path = path and re.sub(r"\[([a-z]+)\]", r".\1", path)  # the API server's way to write the key of a map

    checked = check(job(**changes))

    assert isinstance(checked, list)
    assert path is None or path in [one.path for one in checked]
    assert SCHEMA_WORDS.match(words) or any(words in one.text for one in checked), checked


def test_every_keyword_of_the_crd_is_looked_at() -> None:
    found = {keyword for schema in walk_schema(job_schema()) for keyword in schema}

    assert found - KEYWORDS == set()


def test_every_pattern_of_the_crd_is_told_in_words() -> None:
    patterns = {schema["pattern"] for schema in walk_schema(job_schema()) if "pattern" in schema}

    assert patterns - PATTERNS.keys() == set()


def test_every_rule_of_the_crd_can_be_evaluated() -> None:
    rules = [
        rule["rule"] for schema in walk_schema(job_schema()) for rule in schema.get("x-kubernetes-validations", [])
    ]

    answers = [evaluate(rule, {}) for rule in rules if "oldSelf" not in rule]

    assert len(answers) > 10


NO_FIELD = "is wrong because there is no such field"
PROBLEMS: dict[str, dict[str, object]] = {
    f"spec.training.epochs: 3 {NO_FIELD}; did you mean numTrainEpochs?": {"training__epochs": 3},
    f"spec.training.num_train_epochs: 3 {NO_FIELD}; did you mean numTrainEpochs?": {"training__num_train_epochs": 3},
    f"spec.learningRate: 1e-05 {NO_FIELD}; did you mean spec.training.learningRate?": {"learningRate": 1e-5},
    f"spec.checkpoint.xyz: 1 {NO_FIELD}; the fields here are everyMinutes, everySteps, keep": {"checkpoint__xyz": 1},
    f'spec.model.torch_dtype: "bfloat16" {NO_FIELD}; it is called dtype now; spec.model.dtype decides': {
        "model__torch_dtype": "bfloat16"
    },
    f'spec.model.similarity_fn_name: "dot" {NO_FIELD}; did you mean similarity?': {"model__similarity_fn_name": "dot"},
    f'spec.training.evaluation_strategy: "steps" {NO_FIELD}; it is called eval_strategy now; '
    "spec.evaluation.every decides": {"training__evaluation_strategy": "steps"},
    f"spec.training.warmupSteps: 10 {NO_FIELD}; spec.training.warmupRatio decides": {"training__warmupSteps": 10},
    f"spec.training.bf16: true {NO_FIELD}; spec.model.dtype decides": {"training__bf16": True},
    f"spec.training.save_steps: 100 {NO_FIELD}; spec.checkpoint.everySteps decides": {"training__save_steps": 100},
    f"spec.training.per_device_eval_batch_size: 4 {NO_FIELD}; spec.evaluation.batchSize decides": {
        "training__per_device_eval_batch_size": 4
    },
    f"spec.training.batch_size: 4 {NO_FIELD}; did you mean perDeviceTrainBatchSize?": {"training__batch_size": 4},
    f'spec.data.train[0].dataset: "x" {NO_FIELD}; did you mean source?': {"data__train__0__dataset": "x"},
    f'spec.data.train[0].columns.image: "x" {NO_FIELD}; did you mean images?': {"data__train__0__columns__image": "x"},
    f'spec.resources.accelerator.type: "a100" {NO_FIELD}; the fields here are name, perNode': {
        "resources__accelerator__type": "a100"
    },
    f"spec.resources.gpus: 4 {NO_FIELD}; did you mean accelerator?": {"resources__gpus": 4},
    f"spec.model.min_pixels: 784 {NO_FIELD}; write size: {{shortest_edge: PIXELS, longest_edge: PIXELS}} below "
    "spec.model.processorKwargs": {"model__min_pixels": 784},
    f"spec.training.loss.temperature: 0.05 {NO_FIELD}; write scale below the loss's arguments: 1 / temperature": {
        "training__loss__temperature": 0.05
    },
    **{
        f'spec.training.loss.name: "{name}" is wrong because there is no such choice; did you mean {meant}?': {
            "training__loss__name": name
        }
        for name, meant in {
            "BCELoss": "BinaryCrossEntropyLoss",
            "CosineLoss": "CosineSimilarityLoss",
            "InfoNCE": "MultipleNegativesRankingLoss",
            "TripletMarginLoss": "TripletLoss",
        }.items()
    },
    'spec.training.loss.name: "SpladeLoss" is wrong because there is no such choice; leave it out: sparse models are '
    "not trained here": {"training__loss__name": "SpladeLoss"},
    f"spec.training.weightDecay: 0.1 {NO_FIELD}; write weight_decay below spec.training.arguments": {
        "training__weightDecay": 0.1
    },
    f"spec.training.earlyStoppingPatience: 3 {NO_FIELD}; leave it out: training goes to its last step, and the best "
    "model of all evaluations is kept": {"training__earlyStoppingPatience": 3},
    'spec.training.loss.name: "MatryoshkaLoss" is wrong because there is no such choice; name the loss that it is put '
    "around, and give matryoshkaDimensions beside name": {"training__loss": {"name": "MatryoshkaLoss"}},
    "spec.training.loss.matryoshkaDimensions: [64, 128, 256]: matryoshkaDimensions must be descending and unique; "
    "write the largest first, for example [768, 256, 64] (here [256, 128, 64])": {
        "training__loss": {"matryoshkaDimensions": [64, 128, 256]}
    },
    "spec.model is missing; add it: The base model": {"model": None},
    'spec.resources.nodes: "2" is wrong because a whole number is expected; write a whole number without quotes': {
        "resources__nodes": "2"
    },
    "spec.model.source: 5 is wrong because text is expected; put it in quotes": {"model__source": 5},
    'spec.evaluation.baseline: "yes" is wrong because true or false is expected; write true or false without quotes': {
        "evaluation__baseline": "yes"
    },
    "spec.data: [] is wrong because fields are expected; write `name: value` lines below it": {"data": []},
    'spec.data.train: {"name": "a"} is wrong because a list is expected; '
    "put each item on a line of its own after `- `": {"data__train": {"name": "a"}},
    'spec.data.train[0].holdOut: "100%" is wrong because it is no share of rows; '
    "write a share below 100 % such as 5%, or a number of rows without quotes": {"data__train__0__holdOut": "100%"},
    "spec.data.train[0].holdOut: 0 is wrong because it is too small; write a number at least 1": {
        "data__train__0__holdOut": 0
    },
    "spec.training.warmupRatio: 1 is wrong because it is too large; write a number at least 0 and below 1": {
        "training__warmupRatio": 1
    },
    "spec.training.seed: -1 is wrong because it is too small; write a number at least 0 and at most 2147483647": {
        "training__seed": -1
    },
    'spec.model.dtype: "float23" is wrong because there is no such choice; did you mean float32?': {
        "model__dtype": "float23"
    },
    'spec.model.dtype: "bf16" is wrong because there is no such choice; did you mean bfloat16?': {
        "model__dtype": "bf16"
    },
    'spec.storage.size: "5GB" is wrong because it is no quantity; write for example 500m, 4 or 16Gi': {
        "storage__size": "5GB"
    },
    'spec.evaluation.metric: "ndcg": write ndcg@k, mrr@k, recall@k, map@k, precision@k or accuracy@k, k from 1 to 999, '
    "for example ndcg@10; or accuracy, spearman, pearson, ap, f1, precision, recall or mcc": {
        "evaluation__metric": "ndcg"
    },
    'spec.data.allowImageUrls[0]: "https://images.example.com": write the host\'s name alone, for example '
    "images.example.com: no https://, port, path or *": {"data__allowImageUrls": ["https://images.example.com"]},
    'spec.storage.subPath: "../other" is wrong because it is no folder inside the claim; write for example '
    "teams/search, or . for all of it: letters, digits, dots, _ and -, no / at the ends": {
        "storage": {"existingClaim": "shared", "subPath": "../other"}
    },
    'spec.hub.tokenSecret.name: "Hub Token" is wrong because only lower-case letters, digits and inner - and dots may '
    "be in it; write for example hub-token": {"hub": {"tokenSecret": {"name": "Hub Token"}}},
    'spec.hub.tokenSecret.key: "the token" is wrong because only letters, digits, dots, _ and - may be in it; write '
    "for example token": {"hub": {"tokenSecret": {"name": "hub-token", "key": "the token"}}},
    "spec.training.learningRate: NaN is wrong because it is no finite number; write a number that JSON has": {
        "training__learningRate": float("nan")
    },
    f"spec.model.lora.r: 8 {NO_FIELD}; did you mean rank?": {"model__lora": {"r": 8}},
    f'spec.data.train[0].columns.anchor: "q" {NO_FIELD}; did you mean query?': {
        "data__train__0__columns": {"anchor": "q"}
    },
    f"spec.model.trustRemoteCode: true {NO_FIELD}; leave it out: code of a model is never run": {
        "model__trustRemoteCode": True
    },
    'spec.data.train[0].name: "My Pages" is wrong because only lower-case letters, digits and inner - may be in it; '
    "write for example pages-2": {"data__train__0__name": "My Pages"},
    'spec.image: "" is wrong because at least 1 characters are needed; write more of it': {"image": ""},
    "spec.resources.nodes: resources.nodes above 1 needs storage.accessMode ReadWriteMany: every node writes to one "
    'volume (here resources.nodes is 2, storage.existingClaim is not set, storage.accessMode is "ReadWriteOnce")': {
        "resources": {"nodes": 2}
    },
}


@pytest.mark.parametrize("expected", PROBLEMS)
def test_a_problem_names_field_value_cause_and_what_to_do(expected: str) -> None:
    assert told(**PROBLEMS[expected]) == [expected]


NOT_KNOWN = "is wrong because the library has no such training argument"
FREE_FORM: dict[str, dict[str, object]] = {
    f'spec.training.arguments.evaluation_strategy: "steps" {NOT_KNOWN}; it is called eval_strategy now; '
    "spec.evaluation.every decides": {"training__arguments": {"evaluation_strategy": "steps"}},
    'spec.training.arguments.output_dir: "out" is wrong because the job has a volume, laid out by the trainer; '
    "leave it out": {"training__arguments": {"output_dir": "out"}},
    "spec.training.arguments.push_to_hub: true is wrong because it is decided by spec.publish; leave it out here": {
        "training__arguments": {"push_to_hub": True}
    },
    f"spec.training.arguments.weigth_decay: 0.1 {NOT_KNOWN}; did you mean weight_decay?": {
        "training__arguments": {"weigth_decay": 0.1}
    },
    'spec.training.arguments.weight_decay: "abc" is wrong because it is of a wrong kind or size: input should be a '
    "valid number; correct it, or leave it out for the library's 0.0": {"training__arguments": {"weight_decay": "abc"}},
    'spec.training.arguments.lr_scheduler_type: "cos" is wrong because there is no such name; did you mean cosine?': {
        "training__arguments": {"lr_scheduler_type": "cos"}
    },
    "spec.training.loss.arguments.scal: 20 is wrong because CachedMultipleNegativesRankingLoss has no such argument "
    "that can be set; did you mean scale?": {"training__loss": {"arguments": {"scal": 20}}},
    "spec.data.train[0].loss.arguments.margin: 1 is wrong because TripletLoss has no such argument that can be set; "
    "did you mean triplet_margin?": {
        "data__train__0__loss": {"name": "TripletLoss", "arguments": {"margin": 1}},
        "data__train__0__columns": {"negatives": ["n"]},
    },
    'spec.training.loss.arguments.mini_batch_size: "many" is wrong because it is of a wrong kind or size: input should '
    "be a valid integer; correct it, or leave it out for the library's 32": {
        "training__loss": {"arguments": {"mini_batch_size": "many"}}
    },
    "spec.training.loss.arguments.num_labels is missing: SoftmaxLoss needs it; give it": {
        "training__loss": {"name": "SoftmaxLoss"},
        "data__train__0__columns": {"query": "q", "document": "d", "label": "l"},
    },
    'spec.model.modelKwargs.torch_dtype: "float16" is wrong because it is not the manifest\'s to give; '
    "say it in spec.model.dtype": {"model__modelKwargs": {"torch_dtype": "float16"}},
    "spec.model.processorKwargs.min_pixels: 784 is wrong because it is not the manifest's to give; "
    "write size: {shortest_edge: PIXELS, longest_edge: PIXELS}": {"model__processorKwargs": {"min_pixels": 784}},
    'spec.model.modules[1].arguments.pooling_mod: "mean" is wrong because Pooling has no such argument that a manifest '
    "can give; did you mean pooling_mode?": {
        "model__modules": [{"type": "Transformer"}, {"type": "Pooling", "arguments": {"pooling_mod": "mean"}}]
    },
}


@pytest.mark.parametrize("expected", FREE_FORM)
def test_arguments_of_the_library_are_checked_without_the_library(expected: str) -> None:
    assert told(**FREE_FORM[expected]) == [expected]


def test_all_problems_are_told_at_once_whatever_finds_them() -> None:
    problems = told(
        training__epochs=3,
        training__learningRate=7,
        training__arguments={"seed": 1},
        resources={"nodes": "2", "sharedMemory": "99Gi"},
        evaluation__every="200%",
        data__train=[{"name": "pages"}],
        data__evaluation=[{"name": "pages", "source": "hf://acme/pages", "columns": {}}],
    )

    assert [problem.partition(" ")[0].rstrip(":") for problem in problems] == [
        "spec.data.train[0].source",
        "spec.training.epochs",
        "spec.training.learningRate",
        "spec.resources.nodes",
        "spec.evaluation.every",
        "spec.data.evaluation[0].name",
        "spec.resources.sharedMemory",
        "spec.training.arguments.seed",
    ]


def test_programs_get_jobs_and_problems_with_their_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, none = write(tmp_path, job()), tmp_path / "bad.yaml", str(tmp_path / "none.yaml")
    bad.write_text(Path(good).read_text().replace("spec:\n", "spec:\n  epochs: 3\n"))

    code = main(["validate", good, str(bad), none, "-o", "json"])

    found = json.loads(capsys.readouterr().out)
    assert code == ExitCode.BAD_SPEC
    assert found["valid"] == [{"file": good, "namespace": "default", "name": "job", "notes": []}]
    places = [(one["file"], one["line"], one["column"]) for one in found["problems"]]
    line = bad.read_text().splitlines().index("  epochs: 3") + 1
    assert places == [(str(bad), line, 3), (none, None, None)]
    assert found["problems"][0]["message"].startswith("spec.epochs: 3 is wrong because there is no such field; ")


def test_a_valid_manifest_is_said_to_be_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, job())

    code = main(["validate", file])

    assert code == ExitCode.SUCCESS
    assert capsys.readouterr().out == f"{file}: FinetuneJob default/job is valid\n"


def test_documents_of_several_files_are_told_by_file_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub-token"}}
    file = write(tmp_path, secret, job(), job(training__epochs=3))
    (tmp_path / "other.yaml").write_text("kind: FinetunJob\nspec: {}\n")
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))

    code = main(["validate", file, str(tmp_path / "other.yaml"), str(tmp_path / "secret.yaml"), f"{tmp_path}/none"])

    assert code == ExitCode.BAD_SPEC
    assert capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines() == [
        "job.yaml: FinetuneJob default/job is valid",
        "job.yaml:34:5: spec.training.epochs: 3 is wrong because there is no such field; did you mean numTrainEpochs?",
        "other.yaml:1:1: apiVersion is missing; add it: Version of the API",
        "other.yaml:1:1: metadata is missing; add it: The name of the job, and its namespace, labels and annotations "
        "if it has any",
        'other.yaml:1:1: kind: "FinetunJob" is wrong because there is no such choice; did you mean FinetuneJob?',
        "other.yaml:2:1: spec.model is missing; add it: The base model",
        "other.yaml:2:1: spec.data is missing; add it: What to train and to evaluate on",
        "secret.yaml: holds no FinetuneJob; write one, with apiVersion: finetune.dev/v1alpha1 and kind: FinetuneJob",
        "none: cannot be read (No such file or directory); name a file with a FinetuneJob, or - for standard input",
        "8 problems",
    ]


def test_a_job_with_a_field_that_is_given_twice_is_not_called_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "apiVersion: finetune.dev/v1alpha1\nkind: FinetuneJob\nmetadata: {name: a}\nspec:\n"
        "  model: {source: hf://a/b, source: hf://a/c}\n  data: {train: [{name: x, source: hf://a/d}]}\n"
    )

    code = main(["validate", str(file)])

    assert code == ExitCode.BAD_SPEC
    assert capsys.readouterr().out == f"{file}:5:29: spec.model.source: is given twice; keep one of the two\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spec:\n  a: [1\n  b: 2\n", "3:4: this is not YAML: while parsing a flow sequence"),
        ("spec:\n\ta: 1\n", "2:1: this is not YAML: while scanning for the next token found character '\\t'"),
        ("a: &x [*x]\n", "1:4: this is not YAML: an alias stands for what holds it"),
        ("- a\n", '1:1: a FinetuneJob is expected, not ["a"]; begin with apiVersion: finetune.dev/v1alpha1'),
        ("kind: FinetuneJob\nkind: FinetuneJob\n", "2:1: kind: is given twice; keep one of the two"),
        (
            'a: "\\ud83d"\n',
            '1:1: a: "?" is wrong because in place of ? it has half of a character; write the character itself',
        ),
        (
            "!!binary aGk=\n",
            '1:1: the document: "aGk=" is wrong because as !!binary it is no JSON; write it as a string',
        ),
    ],
)
def test_what_is_no_manifest_is_told_with_line_and_column(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)

    code = main(["validate", str(file)])

    assert code == ExitCode.BAD_SPEC
    assert f"{file}:{expected}" in capsys.readouterr().out


AS_STRING = "write it as a string, in quotes and without a tag"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!!timestamp 2026-11-26", f'"2026-11-26" is wrong because as !!timestamp it is no JSON; {AS_STRING}'),
        ("!!timestamp today", f'"today" is wrong because as !!timestamp it is no JSON; {AS_STRING}'),
        ("!!binary aGVsbG8=", f'"aGVsbG8=" is wrong because as !!binary it is no JSON; {AS_STRING}'),
        ("!!int five", f'"five" is wrong because as !!int it is no JSON; {AS_STRING}'),
        ("!!bool maybe", f'"maybe" is wrong because as !!bool it is no JSON; {AS_STRING}'),
        ("0x_", f'"0x_" is wrong because as !!int it is no JSON; {AS_STRING}'),
        ("=", f'"=" is wrong because as !!value it is no JSON; {AS_STRING}'),
        ("!revision main", f'"main" is wrong because as !revision it is no JSON; {AS_STRING}'),
    ],
)
def test_a_value_that_json_does_not_have_is_told_beside_all_other_problems(
    value: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    manifest = yaml.safe_dump(job(training__epochs=3, model__revision="REVISION"), sort_keys=False)
    file.write_text(manifest.replace("REVISION", value))

    code = main(["validate", str(file)])

    assert code == ExitCode.BAD_SPEC
    assert capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines() == [
        f"job.yaml:10:5: spec.model.revision: {expected}",
        "job.yaml:16:5: spec.training.epochs: 3 is wrong because there is no such field; did you mean numTrainEpochs?",
        "2 problems",
    ]


def test_lists_fields_and_names_that_json_does_not_have_are_told_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    arguments = "{betas: !!set {0.8, !!timestamp 2026-11-26}, dims: !!omap [a: 1], !!binary aGk=: 1}"
    manifest = yaml.safe_dump(job(model__modelKwargs="ARGUMENTS"), sort_keys=False)
    file.write_text(manifest.replace("ARGUMENTS", arguments))

    code = main(["validate", str(file)])

    path, because, untagged = "spec.model.modelKwargs", "it is no JSON", "write it as a list or fields, without a tag"
    assert code == ExitCode.BAD_SPEC
    assert capsys.readouterr().out.replace(f"{file}:", "").splitlines() == [
        f'10:19: {path}.betas: {{"0.8": null, "2026-11-26": null}} is wrong because as !!set {because}; {untagged}',
        f'10:38: {path}.betas.2026-11-26: "2026-11-26" is wrong because as !!timestamp {because}; {AS_STRING}',
        f'10:63: {path}.dims: [{{"a": 1}}] is wrong because as !!omap {because}; {untagged}',
        f'10:84: {path}[aGk=]: "aGk=" is wrong because as !!binary {because}; {AS_STRING}',
        "4 problems",
    ]


def test_what_other_documents_of_the_file_hold_is_not_ours_to_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pages"}, "binaryData": {"page": b"hello"}}

    code = main(["validate", write(tmp_path, other, job())])

    assert code == ExitCode.SUCCESS
    assert capsys.readouterr().out == f"{tmp_path}/job.yaml: FinetuneJob default/job is valid\n"


def test_standard_input_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(yaml.safe_dump(job()).encode())))

    code = main(["validate", "-"])

    assert code == ExitCode.SUCCESS
    assert capsys.readouterr().out == "standard input: FinetuneJob default/job is valid\n"


def test_scalars_are_read_as_kubectl_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    manifest = yaml.safe_dump(job(training__learningRate="RATE", model__revision="REVISION", resources__nodes=1.0))
    file.write_text(manifest.replace("RATE", "2e-5").replace("REVISION", "2026-01-31"))

    assert main(["validate", str(file)]) == ExitCode.SUCCESS


def test_an_explicit_null_is_an_absent_field(tmp_path: Path) -> None:
    assert main(["validate", write(tmp_path, job(schedule={"queueName": None}) | {"status": None})]) == ExitCode.SUCCESS


def test_a_name_may_be_left_to_the_api_server(tmp_path: Path) -> None:
    assert main(["validate", write(tmp_path, job() | {"metadata": {"generateName": "job-"}})]) == ExitCode.SUCCESS
    assert main(["validate", write(tmp_path, job() | {"metadata": {}})]) == ExitCode.BAD_SPEC


def test_a_command_line_that_is_not_understood_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["validate"])

    assert ended.value.code == 2
    assert "usage: finetune validate" in capsys.readouterr().err


def test_nothing_heavy_is_loaded_and_no_model_built_that_is_not_needed(tmp_path: Path) -> None:
    heavy = ("torch", "transformers", "datasets", "sentence_transformers", "huggingface_hub", "numpy", "rich")
    program = f"""
import sys
from finetune_cli.main import main
code = main(["validate", {write(tmp_path, job())!r}])
from finetune_api.contract import RunConfig, RunResult
built = [one.__name__ for one in (RunConfig, RunResult) if one.__pydantic_complete__]
sys.exit(code or ", ".join([*set({heavy}) & set(sys.modules), *built]) or 0)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_loss_that_never_existed_is_no_suggestion() -> None:
    names = ["CachedCrossEncoderLoss", "CachedGISTEmbedLoss"]

    assert suggest_value("CachedCrossEncoderLos", names) == "write CachedGISTEmbedLoss"
