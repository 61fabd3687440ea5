# ruff: noqa: ANN401 - fields pass through to the models that check them
"""What gangs have held and what came of it, in scenarios: whole statuses compared after each of them."""

from dataclasses import replace
from typing import Any

from finetune_api.contract import Progress, Role, Work
from finetune_api.reasons import Reason
from finetune_api.status import Phase, ProgressStatus, UsageStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Decision
from finetune_operator.core.observed import Observed, PodView, ProgressReport
from finetune_operator.core.times import format_time
from tests.operator.given import (
    NAME,
    PREPARED,
    a_child,
    a_job,
    a_pod,
    a_result,
    at,
    ended,
    look,
    with_status,
)

GPUS = {"resources": {"nodes": 2, "accelerator": {"perNode": 4}}}
RANKS = 8


def gang(
    *, attempt: int = 1, since: float = 0, phase: str = "Running", num: int = 2, **fields: Any
) -> tuple[PodView, ...]:
    return tuple(
        a_pod(Role.TRAIN, index=index, attempt=attempt, phase=phase, scheduled_at=at(since), **fields)
        for index in range(num)
    )


def work(useful: int = 0, evaluating: int = 0, unsaved: int = 0, *, resumed: int | None = 0) -> Work:
    """Return what rank 0 says, in seconds of each of its processes."""
    found = None if resumed is None else resumed * RANKS
    return Work(
        useful_seconds=useful * RANKS,
        evaluating_seconds=evaluating * RANKS,
        unsaved_seconds=unsaved * RANKS,
        resumed_seconds=found,
    )


def usage(seconds: float, **kinds: int) -> UsageStatus:
    """Return what is told until a moment, in seconds of all accelerators together."""
    fields: dict[str, Any] = {f"{kind}_seconds": value for kind, value in kinds.items()}
    return UsageStatus(of="Accelerators", time=format_time(at(seconds)), **fields)


def check(before: UsageStatus | None, after: UsageStatus | None) -> None:
    """Fail if something was counted twice, or a counter falls."""
    if after is not None:
        counters = ("useful_seconds", "evaluating_seconds", "lost_seconds", "waiting_seconds")
        counted = [getattr(after, one) for one in counters]
        assert sum(counted) + after.unsaved_seconds + after.interrupted_seconds <= after.held_seconds
        assert before is None or all(getattr(before, one) <= now for one, now in zip(counters, counted, strict=True))


class Story:
    """A job, looked at again and again; its status is all that is remembered in between, as after a restart."""

    def __init__(self, **spec: Any) -> None:
        self.job: FinetuneJob = a_job(NAME, **{**GPUS, **spec})
        self.look(0)

    def look(self, seconds: float, *pods: PodView, told: Work | None = None, **fields: Any) -> Decision:
        """Look at pods of the newest attempt and what rank 0 of it says, and keep the status."""
        attempt = max((pod.attempt for pod in pods), default=self.job.status.attempt)
        jobs = [a_child(Role.TRAIN, attempt=attempt, **fields)] if pods or fields else []
        report = None
        if told is not None:
            step = ProgressStatus(stage="Training", step=int(seconds), total_steps=1000)
            report = ProgressReport(attempt=attempt, progress=Progress(attempt=attempt, progress=step, work=told))
        observed = replace(PREPARED, jobs=(*PREPARED.jobs, *jobs), pods=(*PREPARED.pods, *pods), progress=report)
        before, decision = self.usage, look(self.job, observed, now=at(seconds))
        self.job = with_status(self.job, decision.status)
        check(before, self.usage)
        return decision

    def change(self, **spec: Any) -> None:
        """Change the spec, which the next status tells."""
        metadata = self.job.metadata.model_copy(update={"generation": self.job.metadata.generation + 1})
        self.job = self.job.model_copy(update={"spec": self.job.spec.model_copy(update=spec), "metadata": metadata})

    @property
    def usage(self) -> UsageStatus | None:
        """Return what the status tells."""
        return self.job.status.usage


def training(**spec: Any) -> Story:
    """Return a job whose gang runs from 10 s after its pods had nodes, and has a checkpoint after 55 s."""
    story = Story(**spec)
    story.look(10, *gang())
    story.look(60, *gang(), told=work(useful=20, evaluating=5, unsaved=5))
    assert story.usage == usage(60, held=480, useful=160, evaluating=40, unsaved=40, waiting=80)
    return story


def test_an_undisturbed_job_holds_for_steps_and_evaluations_and_for_what_comes_before_and_after() -> None:
    first, second = (
        a_pod(Role.TRAIN, attempt=1, phase="Running", scheduled_at=at(2)),
        a_pod(Role.TRAIN, index=1, attempt=1),
    )
    pods = (first, replace(second, phase="Running", scheduled_at=at(4)))
    result = a_result(Role.TRAIN, Reason.TRAINED, work=work(useful=66, evaluating=9))
    (ended_pod,) = gang(num=1, phase="Succeeded", containers=ended(0, result, seconds=100))
    done = tuple(replace(pod, phase="Succeeded", containers=ended_pod.containers) for pod in pods)
    story = Story()
    seen = [story.usage]

    for seconds, there, told in [
        (4, (first, second), None),
        (10, pods, None),
        (60, pods, work(unsaved=30)),
        (70, pods, work(useful=35, evaluating=5)),
        (102, done, None),
    ]:
        story.look(seconds, *there, told=told, is_complete=there is done)
        seen.append(story.usage)

    assert story.job.status.phase == Phase.PUBLISHING
    assert seen == [
        None,
        usage(4, held=8, waiting=8),
        usage(10, held=56, waiting=56),
        usage(60, held=456, waiting=56, unsaved=240),
        usage(70, held=536, waiting=56, useful=280, evaluating=40),
        usage(102, held=776, waiting=176, useful=528, evaluating=72),
    ]


def test_a_gang_that_reached_the_end_has_lost_nothing_though_its_last_words_were_lost() -> None:
    story = training()

    story.look(104, *gang(phase="Succeeded", containers=ended(0, seconds=100)), is_complete=True)

    assert story.job.status.phase == Phase.PUBLISHING
    assert story.usage == usage(104, held=800, useful=200, evaluating=40, waiting=560)


def test_a_rank_of_an_earlier_gang_on_a_silent_node_keeps_nothing_open_once_another_gang_has_reached_the_end() -> None:
    story = training()
    story.look(104, *gang(phase="Failed", containers=ended(137, seconds=100)), is_failed=True)
    story.look(130, *gang(attempt=2, since=120))
    result = a_result(Role.TRAIN, Reason.TRAINED, attempt=2, work=work(useful=30, evaluating=5, resumed=25))
    done = gang(attempt=2, since=120, phase="Succeeded", containers=ended(0, result, seconds=170))

    story.look(172, *gang(num=1), *done, is_complete=True)

    assert story.job.status.phase == Phase.PUBLISHING
    assert story.usage is not None
    assert (story.usage.lost_seconds, story.usage.interrupted_seconds) == (40, 0)


def test_what_a_gang_made_is_useful_where_the_next_one_finds_its_model_finished() -> None:
    story = training()
    story.look(104, *gang(phase="Failed", containers=ended(137, seconds=100)), is_failed=True)
    story.look(130, *gang(attempt=2, since=120))
    result = a_result(Role.TRAIN, Reason.TRAINED, attempt=2, work=work(resumed=None))

    story.look(
        142, *gang(attempt=2, since=120, phase="Succeeded", containers=ended(0, result, seconds=140)), is_complete=True
    )

    assert story.job.status.phase == Phase.PUBLISHING
    assert story.usage == usage(142, held=960, useful=200, evaluating=40, waiting=720)


def test_a_gang_that_is_preempted_loses_what_no_checkpoint_has_and_the_next_one_says_how_much_that_is() -> None:
    story = training()

    killed = gang(phase="Failed", containers=ended(137, seconds=100))
    story.look(104, *killed, told=work(useful=20, evaluating=5, unsaved=40), is_failed=True)
    assert story.job.status.phase == Phase.RESTARTING
    assert story.usage == usage(104, held=800, useful=160, evaluating=40, interrupted=320, waiting=280)

    story.look(110)
    story.look(130, *gang(attempt=2, since=120))
    assert story.usage == usage(130, held=880, useful=160, evaluating=40, interrupted=320, waiting=360)

    story.look(150, *gang(attempt=2, since=120), told=work(useful=20, evaluating=5, unsaved=10, resumed=25))
    assert story.usage == usage(150, held=1040, useful=160, evaluating=40, unsaved=80, lost=320, waiting=360)

    story.look(160, *gang(attempt=2, since=120), told=work(useful=50, evaluating=5, resumed=25))
    assert story.usage == usage(160, held=1120, useful=400, evaluating=40, lost=320, waiting=360)


def test_what_a_gang_saves_after_it_was_given_up_is_not_lost() -> None:
    story = training()

    story.change(suspend=True)
    story.look(70, *gang(), told=work(useful=20, evaluating=5, unsaved=14))
    assert story.job.status.phase == Phase.SUSPENDED
    assert story.usage == usage(70, held=560, useful=160, evaluating=40, interrupted=112, waiting=248)

    story.change(suspend=False)
    story.look(500)
    story.look(520, *gang(attempt=2, since=510))
    story.look(540, *gang(attempt=2, since=510), told=work(useful=33, evaluating=5, resumed=38))
    assert story.usage == usage(540, held=800, useful=264, evaluating=40, lost=8, waiting=328)


def test_a_queue_that_takes_the_pods_of_a_gang_and_admits_it_anew_makes_it_another_one() -> None:
    story = training()

    story.look(70, *gang(), told=work(useful=20, evaluating=5, unsaved=14), is_suspended=True)
    story.change()
    story.look(70, *gang(), told=work(useful=20, evaluating=5, unsaved=14), is_suspended=True)
    assert (story.job.status.phase, story.job.status.attempt) == (Phase.QUEUED, 1)
    saved = a_result(Role.TRAIN, Reason.PREEMPTED, attempt=1, work=work(useful=33, evaluating=5))
    left = [
        replace(pod, name=f"left-{pod.index}", left_at=at(70))
        for pod in gang(phase="Failed", containers=ended(17, saved, seconds=75))
    ]
    story.look(100, *left, *gang(since=90, num=1), started_at=at(85))
    assert story.usage == usage(100, held=640, useful=160, evaluating=40, interrupted=112, waiting=328)

    story.look(110, *left, *gang(since=90), started_at=at(85))
    story.look(
        130, *left, *gang(since=90), told=work(useful=33, evaluating=5, unsaved=5, resumed=38), started_at=at(85)
    )
    assert story.usage == usage(130, held=880, useful=264, evaluating=40, unsaved=40, lost=8, waiting=408)


def test_what_a_gang_said_before_a_queue_took_it_is_not_counted_again_while_its_pods_still_go() -> None:
    story, said = training(), work(useful=20, evaluating=5, unsaved=14)

    story.look(70, *gang(), told=said, is_suspended=True)
    going = [replace(pod, name=f"left-{pod.index}", left_at=at(70)) for pod in gang()]
    for seconds in (72, 74):  # admitted anew, and what was asked last is still remembered
        story.change()
        story.look(seconds, *going, told=said, started_at=at(71))

    assert story.usage == usage(74, held=592, useful=160, evaluating=40, interrupted=112, waiting=280)


def test_a_gang_says_nothing_of_the_one_before_until_it_has_found_where_it_goes_on() -> None:
    story = training()
    story.look(104, *gang(phase="Failed", containers=ended(137, seconds=100)), is_failed=True)
    story.look(130, *gang(attempt=2, since=120))

    story.look(150, *gang(attempt=2, since=120), told=work(unsaved=3, resumed=None))

    assert story.usage == usage(150, held=1040, useful=160, evaluating=40, unsaved=24, interrupted=40, waiting=640)


def test_a_job_that_waits_in_a_queue_holds_nothing_and_one_that_waits_for_half_a_gang_holds_the_other_half() -> None:
    story = Story()

    story.look(3600, is_suspended=True)
    assert (story.job.status.phase, story.usage) == (Phase.QUEUED, None)

    story.look(
        3700,
        a_pod(Role.TRAIN, attempt=1, phase="Running", scheduled_at=at(3610)),
        a_pod(Role.TRAIN, index=1, attempt=1),
    )
    assert (story.job.status.phase, story.usage) == (Phase.QUEUED, usage(3700, held=360, waiting=360))


def test_a_job_that_fails_has_lost_what_it_has_not_saved() -> None:
    story = training()
    result = a_result(Role.TRAIN, Reason.NON_FINITE_LOSS, attempt=1, work=work(useful=20, evaluating=5, unsaved=45))

    story.look(104, *gang(phase="Failed", containers=ended(15, result, seconds=80)), is_failed=True)

    assert story.job.status.phase == Phase.FAILED
    assert story.usage == usage(104, held=640, useful=160, evaluating=40, lost=360, waiting=80)


def test_what_is_written_after_the_end_counts_nothing_anew() -> None:
    story = training()
    result = a_result(Role.TRAIN, Reason.NON_FINITE_LOSS, attempt=1, work=work(useful=20, evaluating=5, unsaved=45))
    pods = gang(phase="Failed", containers=ended(15, result, seconds=80))
    story.look(104, *pods, is_failed=True)

    story.change()
    story.look(110, *pods, is_failed=True)

    assert story.job.status.observed_generation == 2
    assert story.usage == usage(110, held=640, useful=160, evaluating=40, lost=360, waiting=80)


def test_parts_of_a_second_are_counted_once() -> None:
    story = training()

    for seconds in (60.9, 61.9, 62.9, 63.9):
        story.change()
        story.look(seconds, *gang(), told=work(useful=20, evaluating=5, unsaved=5))

    assert story.usage == usage(63, held=504, useful=160, evaluating=40, unsaved=40, waiting=80)


def test_ranks_that_still_run_when_the_deadline_ends_their_job_may_save() -> None:
    story = training(activeDeadlineSeconds=100)

    story.look(120, *gang(), told=work(useful=20, evaluating=5, unsaved=80))

    assert story.job.status.phase == Phase.FAILED
    assert story.usage == usage(120, held=960, useful=160, evaluating=40, interrupted=640, waiting=120)


def test_a_rerun_counts_on() -> None:
    story = training()
    result = a_result(Role.TRAIN, Reason.NON_FINITE_LOSS, attempt=1, work=work(useful=20, evaluating=5, unsaved=45))
    story.look(104, *gang(phase="Failed", containers=ended(15, result, seconds=80)), is_failed=True)
    before = story.usage

    story.change(rerun="again")
    status = look(story.job, Observed(), now=at(200)).status

    assert before is not None
    assert status.phase == Phase.PREPARING
    assert status.usage == before.model_copy(update={"time": format_time(at(200))})


def test_it_is_no_reason_to_write_a_status() -> None:
    story = training()
    before = story.job.status

    decision = story.look(70, *gang())

    assert decision.status == before


def test_a_process_without_an_accelerator_is_counted_as_such() -> None:
    story = Story(resources={"nodes": 2, "accelerator": {"perNode": 0}})

    story.look(10, *gang())

    assert story.usage == usage(10, held=20, waiting=20).model_copy(update={"of": "Processes"})


def test_nothing_is_counted_twice_where_a_clock_is_set_back() -> None:
    story = training()

    story.change(suspend=True)
    story.look(30, *gang())

    assert story.usage is not None
    assert (story.usage.held_seconds, story.usage.time) == (480, format_time(at(30)))


def test_a_pod_that_says_too_much_keeps_no_status_from_being_written() -> None:
    story = training()

    story.look(70, *gang(), told=Work(useful_seconds=2**40, evaluating_seconds=2**40, unsaved_seconds=2**40))

    written = story.job.status.model_dump(mode="json", by_alias=True)
    assert type(story.job.status).model_validate(written) == story.job.status
