"""The report: one HTML file, whose curves are the record's."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from finetune_api.status import CurvePoint
from finetune_cli.cluster.stored import read_stored
from finetune_cli.main import main
from finetune_cli.report.chart import chart
from finetune_cli.report.page import Subject, page
from tests.cli.api_stub import JOBS, serving, write_kubeconfig
from tests.cli.stored_jobs import CURVE, NOW, SUCCEEDED, TRAINING, ago, manifest

ADDRESS = re.compile(r"(?:src|href)=|url\(|https?:")


class Reader(HTMLParser):
    """Collects texts, rows of tables, and what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, _: object) -> None:
        if tag not in ("meta", "path", "circle", "polyline"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def subject(stored: dict[str, Any]) -> Subject:
    job = read_stored(stored)
    return Subject(job.title, job.manifest["spec"], job.status, job.status.curve, job.metric, NOW)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_it_has_the_scores_with_their_gain_and_interval() -> None:
    found = read(page(subject(SUCCEEDED)))

    assert ["held-out", "ndcg@10", "0.8881", "0.9400", "+0.0519", "95%: +0.0312 to +0.0704"] in found.rows
    assert "Succeeded: ndcg@10 on held-out 0.8881 before, 0.9400 after (+0.0519, 95%: +0.0312 to +0.0704)" in found.text
    assert ["published", "acme/better 0123456789abcdef0123456789abcdef01234567"] in found.rows
    assert "few rows" in found.text


def test_it_has_a_table_of_embedding_sizes_before_and_after() -> None:
    sizes = [{"dimension": 64, "baseline": 0.8881, "final": 0.94}, {"dimension": 8, "final": 0.5}]
    score = SUCCEEDED["status"]["evaluations"][0] | {"dimensions": sizes}
    told = SUCCEEDED | {"status": SUCCEEDED["status"] | {"evaluations": [score]}}

    found = read(page(subject(told)))

    assert "ndcg@10 on held-out by embedding size" in found.text
    head = found.rows.index(["dimensions", "before", "after"])
    assert found.rows[head + 1 : head + 3] == [["64", "0.8881", "0.9400"], ["8", "", "0.5000"]]


def test_its_curves_are_the_points_that_it_was_given() -> None:
    text = page(subject(TRAINING))

    (kept,) = re.findall(r'<script type="application/json" id="curve">(.*?)</script>', text)
    assert json.loads(kept) == CURVE
    assert re.findall(r"<title>(step [^<]*)</title>", text) == [
        *(f"step {one['step']}: {one['loss']:.6g}" for one in CURVE if "loss" in one),
        *(f"step {one['step']}: {one['score']:.6g}" for one in CURVE if "score" in one),
    ]


def test_a_chart_puts_values_where_they_belong() -> None:
    drawn = chart("loss", [(0, 2.0), (10, 1.0), (20, 0.0)], last=20)

    assert '<polyline points="64.0,28.0 344.0,120.0 624.0,212.0"/>' in drawn


def test_a_chart_shows_what_scores_are_compared_with_also_where_it_is_below_them() -> None:
    drawn = chart("ndcg@10", [(1, 0.9), (2, 0.9)], last=2, baseline=0.8)

    assert 'class="baseline" d="M64,212.0H624"' in drawn
    assert "before 0.8000" in drawn


def test_it_needs_nothing_but_itself_and_takes_no_text_for_markup() -> None:
    wild = manifest("Failed", spec={"model": {"source": "hf://a/<script>alert(1)</script>"}}, warnings=["<b>&</b>"])

    text = page(subject(wild))

    assert "<script>" not in text
    assert "<b>" not in text
    assert ADDRESS.findall(text) == []
    assert read(text).text.count("<b>&</b>") == 1


def test_a_job_that_has_just_begun_has_a_report_too() -> None:
    assert "spec" in read(page(subject(manifest("Pending")))).text


def test_a_router_has_the_models_of_its_routes() -> None:
    routes = {"text": {"source": "hf://acme/text", "freeze": True}, "image": {"source": "hf://acme/image"}}
    router = {"model": {"router": {"by": "Modality", "routes": routes}}}

    found = read(page(replace(subject(SUCCEEDED), spec=router)))

    assert ["model", "hf://acme/text, hf://acme/image"] in found.rows


def test_it_tells_how_long_gangs_have_trained_the_one_that_trains_included() -> None:
    trains = manifest("Training", attempt=2, worldSize=4, trainedSeconds=600, trainingTime=ago(minutes=5))
    waits = manifest("Queued", attempt=2, worldSize=4, trainedSeconds=600)
    ahead = manifest("Training", attempt=2, trainedSeconds=600, trainingTime=ago(seconds=-5))

    rows = [read(page(subject(stored))).rows for stored in (trains, waits, ahead)]

    assert [row for row in rows[0] if row[0] in ("trained for", "processes of the newest gang")] == [
        ["trained for", "15:00 min"],
        ["processes of the newest gang", "4"],
    ]
    assert ["trained for", "10:00 min"] in rows[1]
    assert ["trained for", "10:00 min"] in rows[2]


def test_it_tells_what_accelerators_were_held_for() -> None:
    used = "5:20:00 h useful, 20:00 min evaluating, 8:00 min not saved yet, 32:00 min lost, 16:00 min waiting"

    assert ["used", f"6:40:00 h of accelerators: {used}"] in read(page(subject(TRAINING))).rows


def test_its_spec_has_no_secrets() -> None:
    proxy = {"name": "HTTPS_PROXY", "value": "http://me:plain@proxy"}
    env = [{"name": "AWS_ACCESS_KEY_ID", "value": "plain"}, proxy]
    told = manifest("Failed", spec={"podTemplate": {"all": {"env": env}}}, warnings=["from https://plain@hub/x"])

    text = page(subject(told))

    assert "plain" not in text
    assert "http://***@proxy" in text


def test_a_long_curve_stays_a_small_file() -> None:
    stored = subject(SUCCEEDED)
    points = [CurvePoint(step=step, loss=1 / (1 + step), score=0.5) for step in range(2000)]

    assert len(page(replace(stored, curve=points))) < 1_000_000


def test_the_command_writes_it_and_says_where(
    tmp_path: Any,  # noqa: ANN401 - a path
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    with serving({JOBS + "/pages": (200, SUCCEEDED)}) as address:
        write_kubeconfig(tmp_path / "config", address)

        first = main(["report", "pages"]), capsys.readouterr().out
        nowhere = main(["report", "pages", "--file", "no/such/folder.html"]), capsys.readouterr()

    assert first == (0, "search/pages: report written to pages.html\n")
    assert (tmp_path / "pages.html").read_text() == page(subject(SUCCEEDED))
    assert (nowhere[0], nowhere[1].out) == (2, "")
    assert nowhere[1].err == (
        "--file: no/such/folder.html cannot be written (No such file or directory); name a file where you may write\n"
    )
