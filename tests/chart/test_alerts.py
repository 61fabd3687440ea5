"""The alerts under promtool: each fires in a case that it is for, alone, and not in one that looks like it."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.chart import promtool
from tests.chart.helm import NAMESPACE, RELEASE, Manifest, only

OPERATOR_UP = f'up{{namespace="{NAMESPACE}", job="{RELEASE}"}}'
SELECTOR = 'namespace="search", name="demo"'

Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Series, one value a minute, in which an alert fires by `minute`, and similar ones in which none does."""

    alert: str
    minute: int
    firing: Series
    quiet: Series


CASES = [
    Case("FinetuneOperatorDown", 6, {OPERATOR_UP: "0x120"}, {OPERATOR_UP: "1x120"}),
    Case(
        "FinetuneOperatorForbidden",
        10,
        {'finetune_operator_api_requests_total{verb="PATCH", code="403"}': "0+1x120"},
        {'finetune_operator_api_requests_total{verb="PATCH", code="409"}': "0+1x120"},
    ),
    Case(
        "FinetuneOperatorRightMissing",
        10,
        {'finetune_operator_missing_right{verb="patch", resource="jobs"}': "1x120"},
        {'finetune_operator_missing_right{verb="patch", resource="jobs"}': "1x5 stale"},
    ),
    Case(
        "FinetuneOperatorErrors",
        40,
        {'finetune_operator_reconcile_total{result="error"}': "0+1x120"},
        {'finetune_operator_reconcile_total{result="changed"}': "0+1x120"},
    ),
    Case(
        "FinetuneOperatorCrdOutdated",
        20,
        {"finetune_operator_crd_missing_fields": "3x120"},
        {"finetune_operator_crd_missing_fields": "0x120"},
    ),
    Case(
        "FinetuneOperatorCannotRead",
        20,
        {'finetune_operator_ignored_objects{resource="finetunejobs", reason="unreadable"}': "1x120"},
        {'finetune_operator_ignored_objects{resource="pods", reason="foreign"}': "1x120"},
    ),
    Case(
        "FinetuneOperatorNotAlone",
        60,
        {"finetune_operator_foreign_status_writes": "0+2x120"},
        # Of a person who has once corrected a status by hand, and of an operator that was started anew.
        {"finetune_operator_foreign_status_writes": "7x40 8x10 0x70"},
    ),
    Case(
        "FinetuneJobStalled",
        25,
        {f"finetunejob_step{{{SELECTOR}}}": "7x120", f'finetunejob_phase{{{SELECTOR}, phase="Training"}}': "1x120"},
        {f"finetunejob_step{{{SELECTOR}}}": "7x120", f'finetunejob_phase{{{SELECTOR}, phase="Publishing"}}': "1x20"},
    ),
    Case(
        "FinetuneJobRestarting",
        50,
        {f"finetunejob_attempt{{{SELECTOR}}}": "1x10 2x10 3x10 4x10 5x80"},
        {f"finetunejob_attempt{{{SELECTOR}}}": "5x120"},
    ),
    Case(
        "FinetuneNonFiniteSteps",
        5,
        {f"finetune_train_nonfinite_steps_total{{{SELECTOR}}}": "2x120"},
        {f"finetune_train_nonfinite_steps_total{{{SELECTOR}}}": "0x120"},
    ),
    Case(
        "FinetuneJobFailed",
        30,
        {
            f'finetunejob_phase{{{SELECTOR}, phase="Failed"}}': "1x120",
            f"finetunejob_completion_timestamp_seconds{{{SELECTOR}}}": "60x120",
        },
        {
            f'finetunejob_phase{{{SELECTOR}, phase="Failed"}}': "1x120",
            f"finetunejob_completion_timestamp_seconds{{{SELECTOR}}}": "-9999x120",
        },
    ),
    Case(
        "FinetuneJobWaiting",
        61,
        {f'finetunejob_phase{{{SELECTOR}, phase="Queued"}}': "1x120"},
        {f'finetunejob_phase{{{SELECTOR}, phase="Preparing"}}': "1x120"},
    ),
    Case(
        "FinetunePublishSlow",
        31,
        {f'finetunejob_phase{{{SELECTOR}, phase="Publishing"}}': "1x120"},
        {f'finetunejob_phase{{{SELECTOR}, phase="Publishing"}}': "1x20"},
    ),
    Case(
        "FinetuneModelNotBetter",
        30,
        {
            f'finetunejob_best_score{{{SELECTOR}, metric="ndcg@10"}}': "0.4x120",
            f'finetunejob_baseline_score{{{SELECTOR}, metric="ndcg@10"}}': "0.5x120",
            f"finetunejob_completion_timestamp_seconds{{{SELECTOR}}}": "60x120",
        },
        {
            f'finetunejob_best_score{{{SELECTOR}, metric="ndcg@10"}}': "0.6x120",
            f'finetunejob_baseline_score{{{SELECTOR}, metric="ndcg@10"}}': "0.5x120",
            f"finetunejob_completion_timestamp_seconds{{{SELECTOR}}}": "60x120",
        },
    ),
]


@pytest.fixture(scope="module")
def program() -> Path:
    found = shutil.which("promtool")
    if found is not None:
        return Path(found)
    if missing := promtool.missing_programs():
        pytest.skip(f"promtool is missing, and so is {' and '.join(missing)} to fetch it with: install Prometheus")
    return promtool.ensure()


@pytest.fixture(scope="module")
def rules(everything: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(only(everything, "PrometheusRule")["spec"]))
    return file


def run(program: Path, *arguments: str | Path) -> str:
    """Return what promtool prints, with "FAILED" in it if it found fault."""
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False).stdout


def build_test(rules: Path, *, series: Series, minute: int, expected: list[str]) -> str:
    """Return a test file for promtool: exactly the `expected` alerts fire at `minute`."""
    question = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in expected],
    }
    given = {OPERATOR_UP: "1x120", **series}
    inputs = [{"series": name, "values": values} for name, values in given.items()]
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": [question]}],
    }
    return yaml.safe_dump(test)


def test_the_rules_parse(program: Path, rules: Path, everything: list[Manifest]) -> None:
    groups = only(everything, "PrometheusRule")["spec"]["groups"]

    report = run(program, "check", "rules", rules)

    assert f"SUCCESS: {sum(len(group['rules']) for group in groups)} rules found" in report


def test_every_alert_has_a_case(everything: list[Manifest]) -> None:
    groups = only(everything, "PrometheusRule")["spec"]["groups"]

    assert [rule["alert"] for group in groups for rule in group["rules"]] == [case.alert for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_alone_in_its_case(program: Path, rules: Path, tmp_path: Path, case: Case) -> None:
    test = tmp_path / "test.yaml"
    test.write_text(build_test(rules, series=case.firing, minute=case.minute, expected=[case.alert]))

    report = run(program, "test", "rules", test)

    assert "SUCCESS" in report


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_no_alert_fires_in_a_similar_case(program: Path, rules: Path, tmp_path: Path, case: Case) -> None:
    test = tmp_path / "test.yaml"
    test.write_text(build_test(rules, series=case.quiet, minute=case.minute, expected=[]))

    report = run(program, "test", "rules", test)

    assert "SUCCESS" in report
