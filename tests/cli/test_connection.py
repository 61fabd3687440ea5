"""What the verbs say where the cluster, a right or the job is missing: one line, what to do, and an exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from finetune_cli.cluster import verbs
from finetune_cli.cluster.connection import Cluster, connect
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import Manifest
from finetune_cli.main import main
from tests.api.conftest import MINIMAL
from tests.cli.api_stub import GROUP, JOBS, Answers, serving, versions, write_kubeconfig
from tests.cli.stored_jobs import FAILED, QUEUED, TRAINING, manifest

FORBIDDEN = 'finetunejobs.finetune.dev "pages" is forbidden: User "me" cannot get resource'


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "config"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    printed = capsys.readouterr()
    return int(code), printed.out, printed.err


@pytest.mark.parametrize(
    ("answers", "code", "expected"),
    [
        (
            {JOBS + "/pages": (401, {"message": "Unauthorized"})},
            13,
            "cannot read search/pages: ADDRESS does not know you; log in again, or name a cluster in KUBECONFIG or "
            "with --context\n",
        ),
        (
            {JOBS + "/pages": (403, {"message": FORBIDDEN})},
            13,
            f"cannot read search/pages: {FORBIDDEN}; ask for this right, or for what is in the way of it to be "
            "changed\n",
        ),
        (
            {JOBS + "/pages": (404, {"message": 'finetunejobs "pages" not found'}), GROUP: versions("v1alpha1")},
            31,
            'cannot read search/pages: finetunejobs "pages" not found; `finetune list -A` shows which are there\n',
        ),
        (
            {GROUP: versions("v1", "v1beta1")},
            30,
            "cannot read search/pages on ADDRESS: it serves finetune.dev/v1, v1beta1, not v1alpha1; install the "
            "finetune of its release\n",
        ),
        (
            {},
            30,
            "cannot read search/pages on ADDRESS: it has no FinetuneJobs; install the operator there, or name another "
            "cluster with --context\n",
        ),
        (
            {JOBS + "/pages": (503, b"<html>\nbusy</html>")},
            30,
            "cannot read search/pages: <html> busy</html>; try again\n",
        ),
        (
            {JOBS + "/pages": (502, {"error": "bad gateway"})},
            30,
            'cannot read search/pages: {"error": "bad gateway"}; try again\n',
        ),
        ({JOBS + "/pages": (500, [])}, 30, "cannot read search/pages: []; try again\n"),
        ({JOBS + "/pages": (429, {"message": "too many"})}, 30, "cannot read search/pages: too many; try again\n"),
        (
            {JOBS + "/pages": (200, b"<html>Log in</html>")},
            30,
            "cannot read search/pages: ADDRESS does not answer as an API server does (Expecting value: line 1 column "
            "1 (char 0)); name a cluster in KUBECONFIG or with --context\n",
        ),
        (
            {JOBS + "/pages": (404, {"message": 'finetunejobs "pages" not found'}), GROUP: (403, {"message": "no"})},
            31,
            'cannot read search/pages: finetunejobs "pages" not found; `finetune list -A` shows which are there\n',
        ),
        (
            {JOBS + "/pages": (404, {"message": 'finetunejobs "pages" not found'}), GROUP: (200, b"<html>")},
            31,
            'cannot read search/pages: finetunejobs "pages" not found; `finetune list -A` shows which are there\n',
        ),
        (
            {JOBS + "/pages": (200, manifest("Levitating"))},
            30,
            "search/pages: status.phase is 'Levitating', which finetune 0.1.0 does not know; install the finetune of "
            "the operator's release\n",
        ),
    ],
)
def test_what_is_missing_is_told_in_one_line_and_json_is_not_mixed_with_it(
    kubeconfig: Path, capsys: pytest.CaptureFixture[str], answers: Answers, code: int, expected: str
) -> None:
    with serving(answers) as address:
        write_kubeconfig(kubeconfig, address)

        assert run(capsys, "status", "pages", "-o", "json") == (code, "", expected.replace("ADDRESS", address))


def test_an_api_server_that_does_not_answer_is_told(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_kubeconfig(kubeconfig, "http://127.0.0.1:9")

    code, out, err = run(capsys, "list", "-A")

    assert (code, out) == (30, "")
    assert err == (
        "cannot list jobs of all namespaces: http://127.0.0.1:9 does not answer (Connection refused); look whether it "
        "is up, or name a cluster in KUBECONFIG or with --context\n"
    )


def test_a_kubeconfig_that_is_not_there_is_told(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = f"there is no kubeconfig {kubeconfig}; name one that is there in KUBECONFIG\n"

    assert run(capsys, "status", "pages") == (30, "", told)


@pytest.mark.parametrize("content", ["a: [", "apiVersion: v1\nkind: Config\n"])
def test_a_kubeconfig_that_names_no_cluster_is_told(
    kubeconfig: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    kubeconfig.write_text(content)

    code, out, err = run(capsys, "status", "pages")

    assert (code, out, err.count("\n")) == (30, "", 1)
    assert err.startswith(f"kubeconfig {kubeconfig}: ")
    assert err.endswith("; name a cluster in KUBECONFIG or with --context\n")


def test_a_context_that_is_not_there_is_told(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_kubeconfig(kubeconfig, "http://127.0.0.1:9")

    told = f"kubeconfig {kubeconfig} has no context elsewhere; it has here\n"

    assert run(capsys, "status", "pages", "--context", "elsewhere") == (30, "", told)


def test_explain_and_status_answer_in_json(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving({JOBS + "/pages": (200, QUEUED)}) as address:
        write_kubeconfig(kubeconfig, address)

        status, explained = (run(capsys, verb, "pages", "-o", "json") for verb in ("status", "explain"))

    assert json.loads(status[1]) == QUEUED
    assert {**json.loads(explained[1]), "seconds": None, "message": None} == {
        "title": "search/pages",
        "phase": "Queued",
        "reason": "Unschedulable",
        "message": None,
        "move": "The cluster's",
        "nextStep": "Free accelerators or quota, or change resources, nodeSelector or tolerations.",
        "seconds": None,
    }


def test_another_namespace_than_the_contexts_may_be_named(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving({JOBS: (200, {"items": []})}) as address:
        write_kubeconfig(kubeconfig, address, namespace="elsewhere")

        found = run(capsys, "list", "-n", "search")

    assert found == (0, "No FinetuneJobs in namespace search.\n", "")


def test_a_watch_ends_with_the_job_and_its_exit_code(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = manifest("Failed", {**QUEUED["status"]["conditions"][1], "status": "False", "reason": "OutOfMemory"})
    events = "".join(json.dumps({"type": "MODIFIED", "object": one}) + "\n" for one in (QUEUED, failed))
    with serving({JOBS + "/pages": (200, QUEUED), JOBS: (200, events.encode())}) as address:
        write_kubeconfig(kubeconfig, address)

        code, out, err = run(capsys, "watch", "pages", "-o", "json")

    assert (code, err) == (16, "")
    assert [json.loads(line) for line in out.splitlines()] == [QUEUED, failed]


def test_what_was_submitted_is_watched_until_it_has_ended_as_it_has_ended(
    kubeconfig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = "".join(json.dumps({"type": "MODIFIED", "object": one}) + "\n" for one in (QUEUED, FAILED))
    answers = {f"POST {JOBS}": (201, QUEUED), JOBS + "/pages": (200, QUEUED), JOBS: (200, events.encode())}
    with serving(answers) as address:
        write_kubeconfig(kubeconfig, address)

        code, out, _ = run(capsys, "submit", write_jobs(tmp_path, "search"), "--watch")

    first, *_, last = out.splitlines()
    assert (code, first) == (11, "search/pages created")
    assert last.startswith("Failed       ColumnNotFound: 2 problems.")


def test_a_watch_whose_connection_breaks_is_begun_anew_for_a_while(kubeconfig: Path) -> None:
    events = "".join(json.dumps({"type": "MODIFIED", "object": one}) + "\n" for one in (QUEUED, QUEUED))
    pauses: list[float] = []
    with serving({JOBS + "/pages": (200, QUEUED), JOBS: (200, events.encode())}) as address:
        write_kubeconfig(kubeconfig, address)
        states = connect(context=None, namespace=None).watch("pages", pause=pauses.append)
        seen = [next(states) for _ in range(5)]

    with pytest.raises(RefusalError, match="does not answer"):
        list(states)

    assert seen == [QUEUED] * 5
    assert pauses == [2.0] * 29


def states_while(kubeconfig: Path, answers: Answers, *, later: Answers) -> list[Manifest]:
    """Return two states of a watch, with a pause between them if the API server wants one; answers change with it."""
    answers = {JOBS + "/pages": (200, QUEUED), **answers}
    with serving(answers) as address:
        write_kubeconfig(kubeconfig, address)
        states = connect(context=None, namespace=None).watch("pages", pause=lambda _: answers.update(later))
        first = next(states)
        answers.update({} if later.keys() & {JOBS} else later)
        return [first, next(states)]


def event(kind: str, found: object) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


@pytest.mark.parametrize("code", [410, 429, 500, 502, 503])
def test_a_watch_goes_on_after_an_api_server_that_is_busy_or_restarted(kubeconfig: Path, code: int) -> None:
    refused = event("MODIFIED", QUEUED) + event("ERROR", {"code": code, "message": "not now"})
    later: Answers = {JOBS: (200, event("MODIFIED", TRAINING))}

    assert states_while(kubeconfig, {JOBS: (200, refused)}, later=later) == [QUEUED, TRAINING]


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ((404, {"message": 'finetunejobs "pages" not found'}), "cannot read search/pages: "),
        (
            (200, QUEUED | {"metadata": QUEUED["metadata"] | {"uid": "2222"}}),
            "search/pages was deleted, and another has its name",
        ),
    ],
)
def test_a_watch_of_a_job_that_is_deleted_in_a_gap_ends(
    kubeconfig: Path, later: tuple[int, Manifest], expected: str
) -> None:
    answers: Answers = {JOBS: (200, event("MODIFIED", QUEUED)), GROUP: versions("v1alpha1")}

    with pytest.raises(RefusalError, match=expected) as refused:
        states_while(kubeconfig, answers, later={JOBS + "/pages": later})

    assert refused.value.code == 31


def test_a_watch_of_a_job_that_is_deleted_ends(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = json.dumps({"type": "DELETED", "object": QUEUED}) + "\n"
    with serving({JOBS + "/pages": (200, QUEUED), JOBS: (200, event.encode())}) as address:
        write_kubeconfig(kubeconfig, address)

        found = run(capsys, "watch", "pages")

    assert found == (31, "", "search/pages was deleted\n")


def test_a_job_of_another_release_hides_none_in_a_list(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving({JOBS: (200, {"items": [manifest("Levitating", attempt=3), TRAINING]})}) as address:
        write_kubeconfig(kubeconfig, address)

        code, out, err = run(capsys, "list")

    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["STATUS", "Levitating", "Training"]
    assert err.startswith("search/pages: status.phase is 'Levitating', which finetune ")


def write_jobs(folder: Path, *namespaces: str) -> str:
    """Write a file with a job for each namespace, and return where it is."""
    jobs = (MINIMAL | {"metadata": {"name": f"job-{name}", "namespace": name}} for name in namespaces)
    (folder / "jobs.yaml").write_text(yaml.safe_dump_all(jobs))
    return str(folder / "jobs.yaml")


@pytest.mark.parametrize(
    ("status", "message", "code", "hint"),
    [
        (409, 'finetunejobs "job-search" already exists', 10, "write another metadata.name, or delete that one first"),
        (404, 'namespaces "search" not found', 31, "name one that is there with -n, or create it"),
    ],
)
def test_what_is_in_the_way_of_a_new_job_is_told_with_what_to_do(  # noqa: PLR0913, PLR0917 - fixtures
    kubeconfig: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    status: int,
    message: str,
    code: int,
    hint: str,
) -> None:
    with serving({JOBS: (status, {"message": message}), GROUP: versions("v1alpha1")}) as address:
        write_kubeconfig(kubeconfig, address)

        found = run(capsys, "submit", write_jobs(tmp_path, "search"), "-o", "json")

    assert (found[0], found[1]) == (code, "")
    assert found[2].splitlines()[-1] == f"cannot create search/job-search: {message}; {hint}"


def test_nothing_is_created_where_one_of_the_namespaces_contradicts(
    kubeconfig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_kubeconfig(kubeconfig, "http://127.0.0.1:9")

    code, out, err = run(capsys, "submit", write_jobs(tmp_path, "search", "other"), "-n", "search")

    assert (code, out) == (2, "")
    assert err.endswith("metadata.namespace is other, not search; leave one of the two out\n")


def test_ctrl_c_tells_that_what_was_created_stays(
    kubeconfig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(cluster: Cluster, given: Manifest) -> Manifest:
        if cluster.namespace == "other":
            raise KeyboardInterrupt
        return given

    monkeypatch.setattr(Cluster, "create", create)
    write_kubeconfig(kubeconfig, "http://127.0.0.1:9")

    code, out, err = run(capsys, "submit", write_jobs(tmp_path, "search", "other"))

    assert (code, out) == (17, "search/job-search created\n")
    assert err.splitlines()[-1] == "Stopped; what was created stays, `finetune list` shows it."


def test_nothing_heavy_is_loaded_to_show_a_job() -> None:
    heavy = (
        *("torch", "transformers", "pandas", "numpy", "cel_expr_python", "finetune_api.sense"),
        *("kubernetes.client.api.core_v1_api", "kubernetes.client.models.v1_pod"),
    )
    program = f"import sys, finetune_cli.cluster.verbs; sys.exit(', '.join(set({heavy}) & set(sys.modules)) or 0)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_the_command_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "watch", interrupted)

    assert run(capsys, "watch", "pages") == (17, "", "Stopped; the job is as it was.\n")


def test_whoever_has_read_enough_ends_the_command_quietly(kubeconfig: Path) -> None:
    program = "import sys; from finetune_cli.main import main; sys.exit(main(['list']))"
    with serving({JOBS: (200, {"items": [QUEUED] * 1500})}) as address:
        write_kubeconfig(kubeconfig, address)
        command = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert command.stdout is not None
        assert command.stderr is not None
        with command, command.stderr:
            first = command.stdout.readline()
            command.stdout.close()
            told = command.stderr.read()

    assert first.startswith("NAME ")
    assert (command.returncode, told) == (0, "")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, 13, "create of pods/exec: Forbidden; ask for this right, or for what is in the way of it to be changed"),
        (404, 31, "create of pods/exec: Not Found"),
        (500, 30, "create of pods/exec: Internal Server Error; try again"),
    ],
)
def test_a_command_that_may_not_be_run_in_a_pod_is_told(
    kubeconfig: Path, status: int, code: int, expected: str
) -> None:
    answers: Answers = {"/api/v1/namespaces/search/pods/reader/exec": (status, {}), GROUP: versions("v1alpha1")}
    with serving(answers) as address:
        write_kubeconfig(kubeconfig, address)

        with pytest.raises(RefusalError) as refused:
            connect(context=None, namespace=None).execute("reader", "reader", ["dd"])

    assert (refused.value.code, str(refused.value)) == (code, f"cannot run dd in pod search/reader: {expected}")
