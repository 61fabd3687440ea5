"""The pods of one training attempt, looked at as one: they run, wait, end well or are lost together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_operator.core.failures import Failure, find_failure
from finetune_operator.core.observed import JobView, Observed, PodView
from finetune_operator.core.times import seconds_since

# A failure is acted on after so many seconds, so that an earlier one that is still on its way to us can win.
SETTLE_SECONDS = 3
SETTLE_CONSEQUENCE_SECONDS = 15
FORCE_AFTER_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Gang:
    """One attempt."""

    job: JobView
    pods: tuple[PodView, ...]
    leaving: tuple[PodView, ...] = ()
    """Pods that a queue took away and that go while it has admitted the Job anew."""

    @property
    def num_nodes(self) -> int:
        """Return of how many nodes it is; the first of a job is of all, a later one may be of fewer."""
        return self.job.num_pods

    @property
    def has_succeeded(self) -> bool:
        """Tell whether every rank ended well."""
        return self.job.is_complete or (
            len(self.pods) == self.num_nodes and all(pod.phase == "Succeeded" for pod in self.pods)
        )

    @property
    def is_running(self) -> bool:
        """Tell whether every rank runs, or has ended well while another still runs."""
        ranks = {pod.index for pod in self.pods if pod.phase in ("Running", "Succeeded") and pod.gone_at is None}
        return len(ranks) == self.num_nodes

    @property
    def num_running(self) -> int:
        """Return how many ranks run."""
        return sum(pod.phase == "Running" and pod.gone_at is None for pod in self.pods)

    @property
    def is_queued(self) -> bool:
        """Tell whether a queue holds the Job back; its pods may then be on their way out, which is no failure."""
        return self.job.is_suspended and not self.job.is_finished

    def failure(self) -> Failure | None:
        """Return why the gang is lost, or None."""
        if self.has_succeeded or self.is_queued:
            return None
        failure = find_failure(self.pods, self.job)
        if failure is not None and failure.is_consequence and (self.job.is_suspended or self.leaving):
            message = f"a queue took the pods of Job {self.job.name} away"
            return replace(failure, reason=Reason.PREEMPTED, message=message, is_announced=True)
        return failure

    def seconds_to_settle(self, failure: Failure, now: datetime) -> float:
        """Return how long to wait for an earlier cause before `failure` is believed; 0 for no longer."""
        if len(self.pods) == self.num_nodes and all(pod.is_terminal for pod in self.pods):
            return 0
        limit = SETTLE_CONSEQUENCE_SECONDS if failure.is_consequence else SETTLE_SECONDS
        since = failure.finished_at or self.job.finished_at
        age = seconds_since(since, now)
        is_known = since is not None and age >= 0  # a clock ahead of ours must not make us wait for it
        return max(0.0, limit - age) if is_known else 0

    def leader_result(self) -> RunResult | None:
        """Return what rank 0 said at its end."""
        return next((result for pod in self.pods if pod.index == 0 and (result := final_result(pod))), None)


def gather(job: JobView, pods: Sequence[PodView]) -> Gang:
    """Return the gang of a Job. Pods that were told to go before it began, or began anew, are of no account."""
    leaving = tuple(pod for pod in pods if _left_before(pod, job))
    return Gang(job=job, pods=tuple(pod for pod in pods if pod not in leaving), leaving=leaving)


def _left_before(pod: PodView, job: JobView) -> bool:
    if pod.left_at is None:
        return False
    # A queue that admits a Job anew has taken its start back; the Job controller notes the next one a moment later.
    is_resuming = job.held_since is not None and not job.is_suspended
    return is_resuming or (job.started_at is not None and pod.left_at <= job.started_at)


def final_result(pod: PodView) -> RunResult | None:
    """Return what the pod's main container said at its end."""
    terminations = [container.termination for container in pod.own_containers if container.termination is not None]
    return terminations[-1].result if terminations else None


def seconds_to_force(pod: PodView, now: datetime) -> float | None:
    """Return when a pod that is being deleted may be removed without its kubelet; None if nobody deletes it."""
    if pod.gone_at is None:
        return None
    return max(0.0, (pod.gone_at + timedelta(seconds=FORCE_AFTER_SECONDS) - now).total_seconds())


def train_jobs(observed: Observed) -> tuple[JobView, ...]:
    """Return the Jobs of all attempts."""
    return tuple(job for job in observed.jobs if job.role == Role.TRAIN)


def train_pods(observed: Observed) -> tuple[PodView, ...]:
    """Return the pods of all attempts."""
    return tuple(pod for pod in observed.pods if pod.role == Role.TRAIN)
