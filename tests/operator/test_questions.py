"""How often the API server is asked why something does not start."""

from finetune_api.contract import Role
from finetune_operator.core.observed import PodView
from finetune_operator.shell.questions import Questions
from tests.operator.given import a_pod


def ranks_of(num: int) -> list[PodView]:
    return [a_pod(Role.TRAIN, index=index, attempt=1) for index in range(num)]


def ask(questions: Questions, pods: list[PodView]) -> str:
    chosen = questions.next("a", pods)
    return chosen.name if chosen is not None else ""


def test_256_ranks_that_pull_an_image_for_ten_minutes_cost_40_questions() -> None:
    time = [0.0]
    questions, pods = Questions(clock=lambda: time[0]), ranks_of(256)
    asked = []

    for second in range(600):
        time[0] = second
        asked += [name for name in [ask(questions, pods)] if name]

    assert len(asked) <= 43
    assert len(set(asked)) == len(asked)


def test_those_that_wait_are_asked_about_in_turn_and_again() -> None:
    time = [0.0]
    questions, pods = Questions(clock=lambda: time[0]), ranks_of(2)

    asked = []
    for _ in range(4):
        time[0] += 15
        asked.append(ask(questions, pods))

    assert asked == [pods[0].name, pods[1].name, pods[0].name, pods[1].name]


def test_a_job_that_is_forgotten_may_be_asked_about_at_once() -> None:
    questions, pods = Questions(clock=lambda: 1.0), ranks_of(1)
    first = ask(questions, pods)
    too_soon = ask(questions, pods)
    questions.forget("a")

    assert (first, too_soon, ask(questions, pods)) == (pods[0].name, "", pods[0].name)
