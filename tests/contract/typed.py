"""Whether what a page says to type can be typed: options, files, fields and targets are there.

Each check takes what follows the program's name and returns what is wrong.
"""

import importlib.util
import json
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import yaml

from finetune_api.crd import build_crd
from finetune_api.manifest import Schema, job_schema
from finetune_api.status import ConditionType
from finetune_cli.main import build_parser
from finetune_cli.manifest.validate import read_jobs
from tests.chart.helm import CHART, ROOT
from tests.chart.test_values import schema_paths

Words = tuple[str, ...]

VALUES = frozenset(schema_paths(json.loads((CHART / "values.schema.json").read_text())))
STATUS: Schema = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
#: Jobs and pods as the operator makes them.
MADE = "".join(path.read_text() for path in (ROOT / "tests" / "operator" / "golden").iterdir())
#: A job of which a page shows a part.
WHOLE: dict[str, Any] = {
    "model": {"source": "hf://acme/model"},
    "data": {"train": [{"name": "rows", "source": "hf://acme/rows", "holdOut": "5%"}]},
    "storage": {"accessMode": "ReadWriteMany"},
    "publish": {"repository": "acme/model", "tokenSecret": {"name": "hub-token"}},
}


def job_with(part: dict[str, Any]) -> dict[str, Any]:
    """Return a FinetuneJob that says this, and whatever it cannot do without."""
    spec = merged(WHOLE, part)
    return {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneJob", "metadata": {"name": "a"}, "spec": spec}


def merged(base: Any, over: Any) -> Any:  # noqa: ANN401 - JSON
    """Return `base` as a merge patch changes it."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {key: merged(base.get(key), value) for key, value in over.items()}


def problems_of(job: dict[str, Any]) -> list[str]:
    """Return what `finetune validate` says of a FinetuneJob."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(job, file)
        return [finding.text for finding in read_jobs([file.name]).findings]


def check_finetune(words: Words) -> list[str]:
    """An option or a verb that is not there ends the process, as pytest tells."""
    build_parser().parse_args(words)
    return list(_missing_files(words))


def check_kubectl(words: Words) -> list[str]:
    """What is asked of FinetuneJobs is in the CRD; the rest is Kubernetes' own."""
    if words[0] == "finetune":
        return check_finetune(words[1:])
    problems = list(_missing_files(words))
    text = " ".join(words)
    problems += [f"no label {label}" for label in re.findall(r"finetune\.dev/[\w-]+", text) if f"{label}:" not in MADE]
    if "finetunejob" not in text:
        return problems
    conditions = re.findall(r"condition=(\w+)", text) + re.findall(r'@\.type=="(\w+)"', text)
    problems += [f"no condition {name}" for name in conditions if name not in list(ConditionType)]
    problems += [f"no field {path}" for path in re.findall(r"\{\.status([\w.]*)", text) if not _has(STATUS, path)]
    problems += [
        f"no field {path}" for path in re.findall(r"explain finetunejob([\w.]+)", text) if not _has(job_schema(), path)
    ]
    patches = [json.loads(word) for word in words if word.startswith("{") and '"spec"' in word]
    return problems + [problem for patch in patches for problem in problems_of(job_with(patch["spec"]))]


def check_helm(words: Words) -> list[str]:
    """The chart and its values are there."""
    settings = [word.partition("=")[0] for flag, word in pairwise(words) if flag == "--set"]
    return [*_missing_files(words), *(f"no value {name}" for name in settings if name not in VALUES)]


def check_make(words: Words) -> list[str]:
    """Targets are there, and variables are read."""
    makefile = (ROOT / "Makefile").read_text()
    targets = [word for word in words if "=" not in word]
    variables = [word.partition("=")[0] for word in words if "=" in word]
    return [
        *(f"no target {name}" for name in targets if not re.search(rf"^{name}:.* ## ", makefile, re.MULTILINE)),
        *(f"nobody reads {name}" for name in variables if not re.search(rf"\b{name}\b", makefile)),
    ]


def check_python(words: Words) -> list[str]:
    """The module is there."""
    option, module, *_ = words
    return [] if option == "-m" and importlib.util.find_spec(module) else [f"no module {module}"]


def check_install(words: Words) -> list[str]:
    """The extras are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {extra for word in words for extra in re.findall(r"[\w-]+", word.partition("[")[2])}
    return [f"no extra {extra}" for extra in sorted(asked - set(project["optional-dependencies"]))]


def check_build(words: Words) -> list[str]:
    """The Dockerfile is there: images are built from it for the end-to-end tests."""
    files = [word for flag, word in pairwise(words) if flag == "-f"] or ["Dockerfile"]
    return [f"no file {file}" for file in files if not (ROOT / file).is_file()]


CHECKS: dict[str, Callable[[Words], list[str]]] = {
    "docker": check_build,
    "finetune": check_finetune,
    "helm": check_helm,
    "kubectl": check_kubectl,
    "make": check_make,
    "pip": check_install,
    "python": check_python,
    "uv": check_install,
}


def _missing_files(words: Words) -> Iterator[str]:
    """Yield what is named of the checkout and is not there."""
    named = [word for word in words if word.startswith(("examples/", "charts/"))]
    return (f"no file {word}" for word in named if not (ROOT / word).exists())


def _has(schema: Schema, path: str) -> bool:
    """Say whether `.a.b.c` is a field below a schema."""
    for name in path.split(".")[1:]:
        inner = schema.get("items", schema)
        if name not in inner.get("properties", {}):
            return False
        schema = inner["properties"][name]
    return True
