"""preflight: a token or a repository that will not do is told before anything is fetched."""

import pytest

from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_trainer.hub.client import connect
from finetune_trainer.publish.preflight import preflight
from finetune_trainer.workspace.failures import RunFailure
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run

CARD = b"---\nlicense: mit\n---\n"


def run_for(
    make_run: MakeRun,
    hub: RunningHub,
    *,
    repository: str = "demo/finetuned",
    if_exists: str = "Update",
    branch: str = "main",
) -> Run:
    publish = {"repository": repository, "branch": branch, "ifExists": if_exists, "tokenSecret": {"name": "hub"}}
    source = {"name": "pages", "source": "hf://demo/pages"}
    run = make_run(model={"source": "hf://demo/tiny"}, data={"train": [source]}, publish=publish)
    return run.at(hub.endpoint).with_token(write=hub.write_token)


def check(run: Run) -> RunResult:
    return preflight(run.config, run.settings)


def fill(hub: RunningHub, repository: str, *, token: str | None = None) -> None:
    api = connect(hub.endpoint, token=token or hub.write_token)
    api.create_repo(repository, private=False)
    api.upload_file(repo_id=repository, path_in_repo="README.md", path_or_fileobj=CARD)


def test_a_missing_repository_is_created_private_and_empty(make_run: MakeRun, hub: RunningHub) -> None:
    run = run_for(make_run, hub)

    result = preflight(run.config, run.settings)

    message = "The token may write to demo/finetuned, which is created."
    assert result == RunResult(role=Role.PREFLIGHT, reason=Reason.VALIDATED, message=message)
    repository = hub.commits("demo/finetuned")
    assert repository["private"] is True
    assert list(repository["commits"][0]["files"]) == [".gitattributes"]


def test_a_repository_of_ones_own_is_left_as_it_is(make_run: MakeRun, hub: RunningHub) -> None:
    fill(hub, "demo/finetuned")
    before = hub.commits("demo/finetuned")
    run = run_for(make_run, hub)

    result = preflight(run.config, run.settings)

    assert result.message == "The token may write to demo/finetuned, which is there."
    assert hub.commits("demo/finetuned") == before


def test_a_job_that_publishes_nothing_asks_the_hub_nothing(make_run: MakeRun, hub: RunningHub) -> None:
    data = {"train": [{"name": "pages", "source": "hf://demo/pages"}]}
    run = make_run(model={"source": "hf://demo/tiny"}, data=data).at(hub.endpoint)

    result = preflight(run.config, run.settings)

    assert result.reason is Reason.VALIDATED
    assert hub.calls() == []


@pytest.mark.parametrize(
    ("token", "repository", "reason"),
    [
        ("hf_nobodys", "demo/finetuned", Reason.TOKEN_REFUSED),
        ("\n", "demo/finetuned", Reason.TOKEN_REFUSED),
        ("hf_demo_read", "demo/finetuned", Reason.WRITE_FORBIDDEN),
        ("hf_demo_acme", "demo/finetuned", Reason.WRITE_FORBIDDEN),
        ("hf_demo_write", "other/finetuned", Reason.WRITE_FORBIDDEN),
        ("hf_demo_write", "nobody/finetuned", Reason.WRITE_FORBIDDEN),
    ],
)
def test_a_token_that_will_not_do_is_refused_by_reason_and_never_named(
    make_run: MakeRun, hub: RunningHub, token: str, repository: str, reason: Reason
) -> None:
    run = run_for(make_run, hub, repository=repository).with_token(write=token)

    with pytest.raises(RunFailure) as failure:
        preflight(run.config, run.settings)

    assert failure.value.reason is reason
    assert token.strip() == "" or token not in failure.value.message


def test_a_token_of_the_organisation_may_write_there(make_run: MakeRun, hub: RunningHub) -> None:
    run = run_for(make_run, hub, repository="acme/finetuned").with_token(write="hf_demo_acme")

    result = preflight(run.config, run.settings)

    assert result.message == "The token may write to acme/finetuned, which is created."


def test_a_repository_of_someone_else_is_forbidden(make_run: MakeRun, hub: RunningHub) -> None:
    fill(hub, "other/finetuned", token="hf_other_write")
    run = run_for(make_run, hub, repository="other/finetuned")

    with pytest.raises(RunFailure, match="cannot be written with the token of demo") as failure:
        preflight(run.config, run.settings)

    assert failure.value.reason is Reason.WRITE_FORBIDDEN


def test_an_occupied_repository_fails_only_if_asked(make_run: MakeRun, hub: RunningHub) -> None:
    fill(hub, "demo/finetuned")

    with pytest.raises(RunFailure) as failure:
        check(run_for(make_run, hub, if_exists="Fail"))
    allowed = [check(run_for(make_run, hub, if_exists=policy)) for policy in ("Skip", "Update")]

    assert failure.value.reason is Reason.REPOSITORY_EXISTS
    assert "README.md" in failure.value.message
    assert [result.reason for result in allowed] == [Reason.VALIDATED, Reason.VALIDATED]
    assert [result.warnings for result in allowed] == [
        [
            "publish.repository: demo/finetuned holds files already (README.md) and publish.ifExists is Skip, so that "
            "the model will stay on the volume; set ifExists to Update to publish it"
        ],
        [],
    ]


def test_a_branch_that_would_be_made_of_files_of_others_is_occupied_before_training(
    make_run: MakeRun, hub: RunningHub
) -> None:
    fill(hub, "demo/finetuned")

    with pytest.raises(RunFailure) as failure:
        check(run_for(make_run, hub, if_exists="Fail", branch="experiment"))

    assert failure.value.reason is Reason.REPOSITORY_EXISTS
    assert set(hub.commits("demo/finetuned")["branches"]) == {"main"}


def test_an_empty_repository_does_not_count_as_occupied(make_run: MakeRun, hub: RunningHub) -> None:
    connect(hub.endpoint, token=hub.write_token).create_repo("demo/finetuned")

    result = check(run_for(make_run, hub, if_exists="Fail"))

    assert result.reason is Reason.VALIDATED


def test_a_hub_without_whoami_is_asked_by_creating(make_run: MakeRun, hub: RunningHub) -> None:
    hub.features(whoami=False)

    result = check(run_for(make_run, hub))

    assert result.warnings == ["the Hub has no whoami call: the token is checked by creating the repository alone"]
    assert hub.commits("demo/finetuned")["private"] is True


@pytest.mark.parametrize("repository", ["demo/finetuned", "other/finetuned"])
def test_a_hub_without_auth_check_is_asked_how_it_would_take_a_file(
    make_run: MakeRun, hub: RunningHub, repository: str
) -> None:
    fill(hub, repository, token=f"hf_{repository.split('/', maxsplit=1)[0]}_write")
    before = hub.commits(repository)
    hub.features(whoami=False, authCheck=False)
    run = run_for(make_run, hub, repository=repository)

    try:
        reason = preflight(run.config, run.settings).reason
    except RunFailure as failure:
        reason = failure.reason

    assert reason is (Reason.VALIDATED if repository.startswith("demo/") else Reason.WRITE_FORBIDDEN)
    assert hub.commits(repository) == before


@pytest.mark.parametrize("action", [{"status": 503}, {"status": 429}, "cut"])
def test_a_hub_that_does_not_answer_is_no_fault_of_the_token(
    make_run: MakeRun, hub: RunningHub, action: object
) -> None:
    hub.fail(action, path="/api/", times=None)  # type: ignore[arg-type]

    with pytest.raises(RunFailure) as failure:
        check(run_for(make_run, hub))

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
