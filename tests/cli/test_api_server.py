"""Every verb against the real API server: what it accepts and what it refuses. Logs of pods are read in tests/e2e."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from finetune_cli.main import main
from finetune_client import Client, RefusalError
from tests.stack.jobs import KIND, change, named
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.api_server
NAMESPACE = "finetune-command"
Printed = tuple[int, str, str]


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield NAMESPACE
    kubectl.delete("namespace", NAMESPACE, namespace=NAMESPACE)  # gone when the next run makes it anew


class Shell:
    """Types `finetune`, on jobs that are suspended so that no operator makes pods for them."""

    def __init__(self, kubectl: Kubectl, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.kubectl, self._folder, self._capsys = kubectl, folder, capsys

    def finetune(self, *arguments: str) -> Printed:
        code = main([*arguments, "-n", NAMESPACE])
        printed = self._capsys.readouterr()
        return int(code), printed.out, printed.err

    def printed_error(self) -> str:
        return self._capsys.readouterr().err

    def write(self, name: str, **changes: object) -> str:
        manifest = {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "FinetuneJob",
            "metadata": {"name": name},
            "spec": {
                "model": {"source": "hf://acme/base"},
                "data": {"train": [{"name": "pages", "source": "hf://acme/pages"}]},
                "suspend": True,
            },
        }
        file = self._folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(change(named(manifest, name), **changes)))
        return str(file)

    def submit(self, name: str) -> None:
        assert self.finetune("submit", self.write(name))[0] == 0

    def stored(self, name: str) -> Manifest:
        found = self.kubectl.get(KIND, name, namespace=NAMESPACE)
        assert found is not None
        return found

    def end(self, name: str, *, phase: str, reason: str) -> None:
        """Have the job ended, as an operator would."""
        told = {"status": "True" if phase == "Succeeded" else "False", "reason": reason, "message": "so it is"}
        condition = {"type": "Succeeded", "lastTransitionTime": "2026-11-23T09:00:00Z", "observedGeneration": 1, **told}
        status = json.dumps({"status": {"observedGeneration": 1, "phase": phase, "conditions": [condition]}})
        self.kubectl.run("patch", KIND, name, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", status)


@pytest.fixture
def shell(
    kubectl: Kubectl,
    namespace: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shell]:
    monkeypatch.setenv("KUBECONFIG", kubectl.kubeconfig)
    yield Shell(kubectl, tmp_path, capsys)
    kubectl.run("delete", KIND, "--all", "-n", namespace)


def test_submit_creates_the_jobs_of_a_file_and_says_so(shell: Shell) -> None:
    assert shell.finetune("submit", shell.write("one")) == (0, f"{NAMESPACE}/one created\n", "")

    code, out, _ = shell.finetune("submit", shell.write("two"), "-o", "json")

    assert code == 0
    assert json.loads(out)["metadata"]["uid"] == shell.stored("two")["metadata"]["uid"]


def test_submit_creates_nothing_of_a_file_in_which_something_is_wrong(shell: Shell) -> None:
    code, out, err = shell.finetune("submit", shell.write("one", training__epochs=3))

    assert (code, out) == (10, "")
    assert "spec.training.epochs: 3 is wrong because there is no such field; did you mean numTrainEpochs?" in err
    assert shell.kubectl.get(KIND, "one", namespace=NAMESPACE) is None


def test_submit_tells_that_a_job_of_that_name_is_there(shell: Shell) -> None:
    shell.submit("one")

    code, out, err = shell.finetune("submit", shell.write("one"))

    assert (code, out) == (10, "")
    assert err == (
        f'cannot create {NAMESPACE}/one: finetunejobs.finetune.dev "one" already exists; write another metadata.name, '
        "or delete that one first\n"
    )


def test_list_status_and_explain_read_what_is_stored(shell: Shell) -> None:
    shell.submit("one")
    shell.submit("two")

    listed, everywhere = shell.finetune("list"), shell.finetune("list", "-A")
    status, explained = shell.finetune("status", "one"), shell.finetune("explain", "one")

    assert sorted(line.split()[0] for line in listed[1].splitlines()) == ["NAME", "one", "two"]
    assert {line.split()[0] for line in everywhere[1].splitlines()} >= {"NAMESPACE", NAMESPACE}
    assert status[1].splitlines()[0].startswith(f"FinetuneJob {NAMESPACE}/one   ")
    assert explained[1].startswith(f"{NAMESPACE}/one ")
    assert explained[1].count("\n") == 1
    assert [one[0] for one in (listed, everywhere, status, explained)] == [0] * 4


def test_lists_and_states_are_the_objects_in_json(shell: Shell) -> None:
    shell.submit("one")

    listed, status = shell.finetune("list", "-o", "json"), shell.finetune("status", "one", "-o", "json")

    assert [one["metadata"]["name"] for one in json.loads(listed[1])["items"]] == ["one"]
    assert json.loads(status[1])["metadata"]["uid"] == shell.stored("one")["metadata"]["uid"]


@pytest.mark.parametrize(
    "verb",
    [
        *("status", "explain", "logs", "report", "bundle", "watch"),
        *("suspend", "resume", "rerun", "download", "serve"),
    ],
)
def test_a_job_that_is_not_there_is_told(shell: Shell, verb: str) -> None:
    code, out, err = shell.finetune(verb, "none")

    assert (code, out) == (31, "")
    assert err == (
        f'cannot read {NAMESPACE}/none: finetunejobs.finetune.dev "none" not found; `finetune list -A` shows which are '
        "there\n"
    )


def test_suspend_and_resume_set_the_spec_and_say_where_nothing_is_to_do(shell: Shell) -> None:
    shell.submit("one")

    suspended = shell.finetune("suspend", "one")
    resumed, again = shell.finetune("resume", "one"), shell.finetune("resume", "one")

    assert suspended == (0, f"{NAMESPACE}/one is suspended already\n", "")
    assert (resumed, again) == ((0, f"{NAMESPACE}/one resumed\n", ""), (0, f"{NAMESPACE}/one is not suspended\n", ""))
    assert shell.stored("one")["spec"]["suspend"] is False
    assert shell.finetune("suspend", "one") == (0, f"{NAMESPACE}/one suspended\n", "")
    assert shell.stored("one")["spec"]["suspend"] is True


def test_rerun_and_suspend_fit_the_state_of_the_job(shell: Shell) -> None:
    shell.submit("one")

    early = shell.finetune("rerun", "one")
    shell.end("one", phase="Failed", reason="HubUnavailable")
    late = shell.finetune("suspend", "one")
    first, second = (shell.finetune("rerun", "one", "--text", "again") for _ in range(2))

    assert early[0] == late[0] == 2
    assert " and has not ended; `finetune watch one` waits for that" in early[2]
    assert late[2] == f"{NAMESPACE}/one has ended (Failed); `finetune rerun` runs it once more\n"
    assert first == (0, f"{NAMESPACE}/one runs once more\n", "")
    assert second[0] == 2
    assert shell.stored("one")["spec"]["rerun"] == "again"


@pytest.mark.parametrize(("phase", "reason", "code"), [("Succeeded", "Completed", 0), ("Failed", "HubUnavailable", 14)])
def test_a_watch_ends_as_the_job_has_ended(shell: Shell, phase: str, reason: str, code: int) -> None:
    shell.submit("one")
    shell.end("one", phase=phase, reason=reason)

    assert shell.finetune("watch", "one") == (code, f"{phase:<11}  {reason}: so it is\n", "")


def test_submit_into_a_namespace_that_is_not_there_is_told(shell: Shell) -> None:
    code = main(["submit", shell.write("one"), "-n", "finetune-nowhere"])

    assert code == 31
    assert shell.printed_error() == (
        'cannot create finetune-nowhere/one: namespaces "finetune-nowhere" not found; name one that is there with -n, '
        "or create it\n"
    )


def test_prepare_has_neither_ranks_nor_attempts(shell: Shell) -> None:
    shell.submit("one")

    found = shell.finetune("logs", "one", "--role", "prepare", "--rank", "1")

    assert found == (2, "", "--role prepare: has neither ranks nor attempts; leave them out\n")


def test_logs_of_pods_that_are_not_there_are_told(shell: Shell) -> None:
    shell.submit("one")

    code, out, err = shell.finetune("logs", "one")

    assert (code, out) == (31, "")
    assert err.startswith(f"{NAMESPACE}/one: no pod has that log any more, or yet")


@pytest.fixture
def stranger(kubectl: Kubectl, namespace: str, tmp_path: Path) -> Path:
    """A kubeconfig of somebody without rights."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stranger", "namespace": namespace}}
    kubectl.apply(account)
    config = json.loads(kubectl.run("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": kubectl.run("create", "token", "stranger", "-n", namespace).strip()}
    path = tmp_path / "stranger"
    path.write_text(json.dumps(config))
    return path


def test_python_submits_suspends_and_resumes_as_the_command_does(shell: Shell) -> None:
    client = Client(namespace=NAMESPACE)
    job = client.submit(shell.write("one"))

    job.resume()

    assert shell.stored("one")["spec"]["suspend"] is False
    job.suspend()
    assert shell.stored("one")["spec"]["suspend"] is True
    assert [one.name for one in client.jobs()] == ["one"]
    with pytest.raises(RefusalError, match="already exists"):
        client.submit(shell.write("one"))


def test_whoever_may_not_is_told_what_for(shell: Shell, stranger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.submit("one")
    monkeypatch.setenv("KUBECONFIG", str(stranger))

    found = [shell.finetune(verb, *name) for verb, *name in (["status", "one"], ["list"], ["suspend", "one"])]
    created = shell.finetune("submit", shell.write("two"))

    assert [(code, out) for code, out, _ in [*found, created]] == [(13, "")] * 4
    assert found[0][2].startswith(f'cannot read {NAMESPACE}/one: finetunejobs.finetune.dev "one" is forbidden: User ')
    assert created[2].startswith(f"cannot create {NAMESPACE}/two: ")
