from finetune_trainer.train.loop.timer import CheckpointTimer


def minutes_due(timer: CheckpointTimer, clock: list[float], *, until: int, every: int = 1) -> list[int]:
    """Look at each so many minutes; return when a checkpoint was due, each of which is written at once."""
    found = []
    for minute in range(0, until, every):
        clock[0] = 60.0 * minute
        if timer.is_due:
            found.append(minute)
            timer.restart()
    return found


def test_the_first_checkpoint_is_due_after_five_minutes_and_then_one_so_many_minutes_after_each() -> None:
    clock = [0.0]
    timer = CheckpointTimer(every_minutes=15, clock=lambda: clock[0])
    timer.start()

    assert minutes_due(timer, clock, until=60) == [5, 20, 35, 50]


def test_checkpoints_that_are_asked_for_more_often_come_so_from_the_first_on() -> None:
    clock = [0.0]
    timer = CheckpointTimer(every_minutes=2, clock=lambda: clock[0])
    timer.start()

    assert minutes_due(timer, clock, until=9) == [2, 4, 6, 8]


def test_one_that_was_made_for_another_reason_counts_and_none_is_due_before_training_starts() -> None:
    clock = [600.0]
    timer = CheckpointTimer(every_minutes=15, clock=lambda: clock[0])

    before = timer.is_due
    timer.start()
    clock[0] += 240.0
    timer.restart()

    assert not before
    assert minutes_due(timer, clock, until=31) == [29]
