"""What the pages say to type and to apply is there: commands parse, fields exist, manifests are valid.

What they say is printed is held against the commands by tests/cli/test_docs.py, and the table and the installation of
docs/chart.md against the chart by tests/chart/test_documentation.py.
"""

import ast
import json
import re
from typing import Any

import pytest
import yaml

from finetune_api.manifest import job_schema
from finetune_api.status import FinetuneJobStatus
from finetune_cli.main import build_parser
from finetune_client import Client, Job
from tests.chart.test_values import value_paths
from tests.contract.pages import PAGES, SHELLS, Block, Command, blocks, commands
from tests.contract.typed import CHECKS, VALUES, check_make, job_with, problems_of

COMMANDS = list(commands())
#: Programs whose commands nothing looks at, and why.
UNCHECKED_PROGRAMS = {
    "echo": "prints",
    "kind": "needs a container engine",
    "oras": "a program of others; tests/trainer/test_publish_registries.py pulls with its library",
    "python3": "makes a virtual environment",
    "source": "enters it",
}
#: Languages of blocks that nobody types or applies, and why.
UNCHECKED_LANGUAGES = {"text": "what was printed, or what lies in a folder"}
#: Documents that no FinetuneJob and no values of the chart are, by their kind or their only key, and why.
UNCHECKED_DOCUMENTS = {
    "ClusterQueue": "Kueue's, as tests/e2e/queue.py makes it",
    "LocalQueue": "the same",
    "ResourceFlavor": "the same",
    "Pod": "Kubernetes' own: tests/api/test_objects_in_pages.py gives it to the API server",
    "configs": "the head of a dataset's README",
    "repos": "pre-commit's",
}
#: What the command prints of a manifest that is wrong on purpose is in tests/cli/test_docs.py.
WRONG_ON_PURPOSE = "epochs: 3"


def test_every_block_is_in_a_language_that_is_checked_or_named_with_a_reason() -> None:
    assert {block.language for block in blocks()} <= {*SHELLS, "json", "python", "yaml", *UNCHECKED_LANGUAGES}


def test_every_program_is_checked_or_named_with_a_reason() -> None:
    assert {command.words[0] for command in COMMANDS} == {*CHECKS, *UNCHECKED_PROGRAMS}


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.words[0] in CHECKS], ids=str)
def test_a_command_can_be_typed(command: Command) -> None:
    assert CHECKS[command.words[0]](command.words[1:]) == []


def named_in_sentences() -> list[str]:
    pattern = re.compile(r"`(?:kubectl )?((?:finetune|make) [a-z][^`]*)`")
    return sorted({found for page in PAGES for found in pattern.findall(page.read_text())})


@pytest.mark.parametrize("command", named_in_sentences())
def test_a_command_that_a_sentence_names_is_there(command: str) -> None:
    program, *words = command.split()
    if program == "make":
        assert check_make(tuple(words)) == []
    else:
        with pytest.raises(SystemExit, match=r"^0$"):
            build_parser().parse_args([words[0], "--help"])


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_each_line_of_json_is_an_object(block: Block) -> None:
    assert {type(json.loads(line)) for line in block.text.splitlines()} == {dict}


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_asks_for_what_is_there(block: Block) -> None:
    known = {"client": dir(Client), "job": dir(Job), "status": FinetuneJobStatus.model_fields}
    nodes = [node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Attribute)]
    asked = [(node.value.id, node.attr) for node in nodes if isinstance(node.value, ast.Name)]

    assert [name for name in asked if name[1] not in known[name[0]]] == []


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_manifest_or_a_part_of_one_is_taken(block: Block) -> None:
    documents = [document for document in yaml.safe_load_all(block.text) if not is_unchecked(document)]

    if WRONG_ON_PURPOSE not in block.text:
        assert [problem for document in documents for problem in problems_in(document)] == []


def is_unchecked(document: dict[str, Any]) -> bool:
    return document.get("kind", next(iter(document))) in UNCHECKED_DOCUMENTS


def problems_in(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a FinetuneJob, with a part of one, or with values of the chart."""
    if "kind" in document:
        return problems_of(document)
    part = document.get("spec", document)
    spec = job_schema()["properties"]["spec"]["properties"]
    evaluation = spec["data"]["properties"]["evaluation"]["items"]["properties"]
    if set(part) <= set(spec):
        return problems_of(job_with(part))
    if set(part) <= set(evaluation):
        return problems_of(job_with({"data": {"evaluation": [{"name": "a", "source": "hf://acme/rows"} | part]}}))
    return [f"no value {path}" for path in value_paths(part, among=set(VALUES)) if path not in VALUES]
