"""What examples/gitops tells Argo CD and Flux, on jobs as a real operator left them in each phase.

Lua runs in Lua 5.1, which is what Argo CD's own has; CEL in the library that `finetune validate` has.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cel_expr_python import cel  # type: ignore[import-untyped]
from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_jobs.json").read_bytes())
ARGO = yaml.safe_load((ROOT / "examples" / "gitops" / "argocd-cm.yaml").read_text())["data"]
ACTIONS = yaml.safe_load(ARGO["resource.customizations.actions.finetune.dev_FinetuneJob"])
FLUX = yaml.safe_load((ROOT / "examples" / "gitops" / "flux.yaml").read_text())["spec"]["healthCheckExprs"][0]
#: Health in Argo CD, and state in Flux.
EXPECTED = {
    "unseen": ("Progressing", "inProgress"),
    "Preparing": ("Progressing", "inProgress"),
    "Queued": ("Progressing", "inProgress"),
    "Training": ("Progressing", "inProgress"),
    "Training of an older version": ("Progressing", "inProgress"),
    "Restarting": ("Progressing", "inProgress"),
    "Restarting of an older version": ("Progressing", "inProgress"),
    "Publishing": ("Progressing", "inProgress"),
    "Suspended": ("Suspended", "inProgress"),
    "Suspended of an older version": ("Progressing", "inProgress"),
    "Succeeded": ("Healthy", "current"),
    "Failed": ("Degraded", "failed"),
}


def run(script: str, job: dict[str, Any]) -> Any:  # noqa: ANN401 - a table of Lua's
    """Return what a script of Argo CD's returns for an object."""
    lua = LuaRuntime()
    lua.globals().obj = lua.table_from(job, recursive=True)
    return lua.execute(script)


def state_in_flux(job: dict[str, Any]) -> str:
    """Return the first state whose expression holds, in the order in which Flux asks."""
    variables = {"metadata": cel.Type.DYN, "spec": cel.Type.DYN, "status": cel.Type.DYN}
    environment = cel.NewEnv(variables=variables)
    for state in ("inProgress", "failed", "current"):
        result = environment.compile(FLUX[state]).eval(data={name: job.get(name, {}) for name in variables})
        assert result.type() == cel.Type.BOOL, (state, result.plain_value())
        if result.value():
            return state
    return "inProgress"


@pytest.mark.parametrize("case", RECORDED)
def test_argo_cd_and_flux_see_how_a_job_is(case: str) -> None:
    health = run(ARGO["resource.customizations.health.finetune.dev_FinetuneJob"], RECORDED[case])

    assert (health["status"], state_in_flux(RECORDED[case])) == EXPECTED[case]
    assert health["message"]


def test_argo_cd_tells_in_the_jobs_own_words_why_it_failed() -> None:
    health = run(ARGO["resource.customizations.health.finetune.dev_FinetuneJob"], RECORDED["Failed"])

    (summary,) = [one for one in RECORDED["Failed"]["status"]["conditions"] if one["type"] == "Succeeded"]
    assert health["message"] == summary["message"]


@pytest.mark.parametrize(
    ("case", "offered"),
    [
        ("unseen", {"suspend"}),
        ("Training", {"suspend"}),
        ("Suspended", {"resume"}),
        ("Succeeded", {"rerun"}),
        ("Failed", {"rerun"}),
    ],
)
def test_argo_cd_offers_the_actions_that_make_sense(case: str, offered: set[str]) -> None:
    found = run(ACTIONS["discovery.lua"], RECORDED[case])

    assert {name for name, action in found.items() if not action["disabled"]} == offered
    assert set(found) == {action["name"] for action in ACTIONS["definitions"]}


def test_actions_change_what_they_say_and_nothing_else() -> None:
    scripts = {action["name"]: action["action.lua"] for action in ACTIONS["definitions"]}

    changed = {name: run(script, {"spec": {"suspend": None, "kept": 1}})["spec"] for name, script in scripts.items()}

    assert dict(changed["suspend"]) == {"suspend": True, "kept": 1}
    assert dict(changed["resume"]) == {"suspend": False, "kept": 1}
    assert (set(changed["rerun"]), changed["rerun"]["rerun"][-1]) == ({"rerun", "kept"}, "Z")
