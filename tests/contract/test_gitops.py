"""What Argo CD, Flux and kstatus make of jobs, as a real operator left them in each phase.

Lua runs in Lua 5.1, which is what Argo CD's own has; CEL in the library that `finetune validate` has; kstatus is the
library itself.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cel_expr_python import cel  # type: ignore[import-untyped]
from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]

from tests.contract.kstatus import program as kstatus

ROOT = Path(__file__).resolve().parents[2]
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_jobs.json").read_bytes())
ARGO = yaml.safe_load((ROOT / "examples" / "gitops" / "argocd-cm.yaml").read_text())["data"]
ACTIONS = yaml.safe_load(ARGO["resource.customizations.actions.finetune.dev_FinetuneJob"])
FLUX = yaml.safe_load((ROOT / "examples" / "gitops" / "flux.yaml").read_text())["spec"]["healthCheckExprs"][0]
#: Health in Argo CD with argocd-cm.yaml, state in Flux with flux.yaml, and in kstatus, which has neither: as a Job of
#: Kubernetes', a training is current for it once it runs.
EXPECTED = {
    "unseen": ("Progressing", "inProgress", "InProgress"),
    "Preparing": ("Progressing", "inProgress", "InProgress"),
    "Queued": ("Progressing", "inProgress", "InProgress"),
    "Training": ("Progressing", "inProgress", "Current"),
    "Training of an older version": ("Progressing", "inProgress", "InProgress"),
    "Restarting": ("Progressing", "inProgress", "InProgress"),
    "Restarting of an older version": ("Progressing", "inProgress", "InProgress"),
    "Publishing": ("Progressing", "inProgress", "Current"),
    "Suspended": ("Suspended", "inProgress", "Current"),
    "Suspended of an older version": ("Progressing", "inProgress", "InProgress"),
    "Succeeded": ("Healthy", "current", "Current"),
    "Failed": ("Degraded", "failed", "Failed"),
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

    assert (health["status"], state_in_flux(RECORDED[case])) == EXPECTED[case][:2]
    assert health["message"]


@pytest.mark.skipif(not kstatus.can_be_had(), reason=kstatus.MISSING)
def test_kstatus_sees_how_jobs_are() -> None:
    kind = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneJob"}

    states = kstatus.states_of([kind | job for job in RECORDED.values()])

    assert dict(zip(RECORDED, states, strict=True)) == {case: expected[2] for case, expected in EXPECTED.items()}


@pytest.mark.skipif(not kstatus.can_be_had(), reason=kstatus.MISSING)
def test_kstatus_takes_a_job_of_kubernetes_for_current_as_soon_as_it_has_begun() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "namespace": "b"}, "spec": {}}
    begun = job | {"status": {"startTime": "2026-11-23T09:00:00Z", "active": 1}}

    assert kstatus.states_of([job, begun]) == ["InProgress", "Current"]


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
