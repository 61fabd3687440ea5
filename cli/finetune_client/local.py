"""FinetuneJobs on this machine, with the words that Client has for those of a cluster.

    from finetune_client.local import Local

    job = Local().submit("job.yaml")
    job.wait()
    job.curve().plot(x="step")

What is done is what `finetune run` does, in the same workspace: who submits the same job again goes on with it. When
Python ends, what runs saves a checkpoint and ends, too.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console

from finetune_api.contract import Role, RunResult, exit_code_of
from finetune_api.reasons import Reason
from finetune_api.status import FinetuneJobStatus, Phase
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.local.display import Display
from finetune_cli.local.earlier import begin, occupied, told_as_failures
from finetune_cli.local.following import Sight
from finetune_cli.local.plan import DEFAULT_FOLDER, Plan
from finetune_cli.local.report import final_status, page_of
from finetune_cli.local.roles import next_attempt
from finetune_cli.local.run import Wishes, make_plan, run_roles
from finetune_cli.local.stopping import Stop
from finetune_cli.local.summary import is_failure
from finetune_client import ending
from finetune_client.client import check_one
from finetune_client.shown import Shown
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.report import Report

_PHASES = {
    Role.PREFLIGHT: Phase.PREPARING,
    Role.PREPARE: Phase.PREPARING,
    Role.TRAIN: Phase.TRAINING,
    Role.PUBLISH: Phase.PUBLISHING,
}


class Local:
    """This machine, and the folder of its workspaces."""

    def __init__(self, folder: Path | str = DEFAULT_FOLDER) -> None:
        self._folder = Path(folder).resolve()

    def submit(
        self,
        manifest: str | Path | dict[str, Any],
        *,
        publish: bool = True,
        processes: int | None = None,
        claims: Mapping[str, Path] | None = None,
    ) -> "LocalJob":
        """Begin the one job of a file or of a manifest; fails with all that is wrong with it.

        Args:
            manifest: path of a file, or its content.
            publish: whether it goes to the Hub where the manifest says so.
            processes: training processes; as many as the manifest and the devices allow if absent.
            claims: folders that stand for the volume claims of `pvc://` sources.

        """
        job = check_one(manifest)
        wishes = Wishes(
            file="", workspace=None, claims=claims or {}, processes=processes, publishes=publish, fresh=False
        )
        try:
            plan = make_plan(job, wishes, self._folder / job.name)
        except RunFailure as failure:
            raise RefusalError(str(failure), failure.exit_code) from failure
        return LocalJob(plan)


class LocalJob(Shown):
    """One job that runs here, in processes of its own; what it says of itself is as new as half a second ago."""

    def __init__(self, plan: Plan) -> None:
        self.name = plan.config.job.name
        self._plan = plan
        self._begin()

    @property
    def status(self) -> FinetuneJobStatus:
        """Return its status."""
        results = self._results
        if not self._thread.is_alive() and results and not is_failure(results[-1]):
            return final_status(results, Report.read(self._plan.workspace.report)).model_copy(
                update={"curve": self._seen.curve, "progress": self._seen.progress}
            )
        return self._seen.model_copy(update={"phase": self._phase()})

    def explain(self) -> str:
        """Return in one line where it is, or why it has ended."""
        if self._failure is not None:
            return f"{self.name} has failed ({self._failure.reason}): {self._failure.message}"
        ended = self._results[-1:] if not self._thread.is_alive() else []
        told = [f"{one.reason}: {one.message}" for one in ended] or [
            self._seen.progress.text if self._seen.progress else ""
        ]
        return f"{self.name} is {self._phase()}" + "".join(f" ({one})" for one in told if one)

    def wait(self) -> FinetuneJobStatus:
        """Return its status once it has ended; fails with the reason if it has failed, or was suspended."""
        self._thread.join()
        if self._failure is not None:
            raise RefusalError(self.explain(), self._failure.exit_code)
        if is_failure(self._results[-1]):
            raise RefusalError(self.explain(), exit_code_of(self._results[-1].reason))
        return self.status

    def logs(self, *, rank: int = 0) -> Iterator[str]:
        """Yield what a training process has logged so far, or prepare before there is one."""
        attempt = next_attempt(self._plan)
        attempts = [self._plan.log(Role.TRAIN, attempt=number, rank=rank) for number in (attempt, attempt - 1)]
        files = [*attempts, self._plan.log(Role.PREPARE, attempt=0)]
        found = next((file for file in files if file.exists()), None)
        if found is not None:
            yield from found.read_text(errors="replace").splitlines()

    def report(self) -> str:
        """Return its report as HTML, once it has ended."""
        self.wait()
        return page_of(self._results, self._plan, Report.read(self._plan.workspace.report))

    def suspend(self) -> None:
        """Let it save a checkpoint and end."""
        self._stop.ask()
        self._thread.join()

    def resume(self) -> None:
        """Let it go on from its newest checkpoint."""
        if not self._thread.is_alive():
            self._begin()

    def _begin(self) -> None:
        self._stop, self._seen = Stop(), FinetuneJobStatus()
        self._results: list[RunResult] = []
        self._failure: RunFailure | None = None
        self._role = self._plan.roles[0]
        self._thread = threading.Thread(target=self._run, name=f"finetune {self.name}", daemon=True)
        ending.start(self._thread, self._stop)

    def _run(self) -> None:
        try:
            with told_as_failures(self._plan.workspace), occupied(self._plan):
                begin(self._plan, fresh=False)
                self._results = run_roles(self._plan, _Listener(self), self._stop)
        except RunFailure as failure:
            self._failure = failure
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            self._failure = RunFailure(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        finally:
            ending.ended()

    def _repr_html_(self) -> str:
        """Return what a notebook shows, without waiting: the report once it has ended well, else where it is or why."""
        return super()._repr_html_() if self._phase() is Phase.SUCCEEDED else f"<p>{escape(self.explain())}</p>"

    def _phase(self) -> Phase:
        if self._thread.is_alive():
            return _PHASES[self._role]
        if self._failure is None and not is_failure(self._results[-1]):
            return Phase.SUCCEEDED
        return Phase.SUSPENDED if self._stop else Phase.FAILED

    def see(self, sight: Sight) -> None:
        """Keep what a role says of itself."""
        self._role = sight.role
        if (told := sight.progress) is not None:
            self._seen = FinetuneJobStatus(
                attempt=told.attempt,
                progress=told.progress,
                metrics=told.metrics,
                curve=told.curve,
                checkpoint=told.checkpoint,
                warnings=told.warnings,
            )


class _Listener(Display):
    """Shows nothing, and hands on what there is to see."""

    def __init__(self, job: LocalJob) -> None:
        super().__init__(Console(quiet=True), metric="")
        self._job = job

    def show(self, role: Role, sights: Iterable[Sight]) -> None:
        """Hand on what a role says until it has ended."""
        self._job.see(Sight(role, 0))
        for sight in sights:
            self._job.see(sight)
