import io
import random
from pathlib import Path

from tests.chaos.harm import Done, Harm
from tests.chaos.invariants import Violation
from tests.chaos.report import Screen, how_it_goes, of_harm, of_jobs, of_violations
from tests.chaos.test_invariants import GOOD


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_how_it_goes_stays_in_one_line_of_a_terminal_and_comes_each_minute_elsewhere(tmp_path: Path) -> None:
    terminal, file, log = Terminal(), io.StringIO(), tmp_path / "harm.log"
    for screen in (Screen(terminal), Screen(file, log=log)):
        screen.show("5 min")
        screen.say("rank killed")
        screen.show("4 min")

    assert "\033" not in file.getvalue()
    assert [line[9:] for line in file.getvalue().splitlines()] == ["5 min", "rank killed"]
    assert log.read_text() == file.getvalue()
    first, rest = terminal.getvalue().split("\n")
    assert first.startswith("\033[K5 min\r\033[K")
    assert first.endswith("rank killed")
    assert rest == "\033[K4 min\r"


def test_how_it_goes_tells_the_phases_and_how_long_it_still_takes() -> None:
    states = [{"status": {"phase": phase}} for phase in ("Training", "Queued", "Training")]

    told = how_it_goes([*states, {}], num_jobs=6, seconds_left=125)

    assert told == "2 min of harm left: 1 Pending, 1 Queued, 2 Training, 2 to come"


def test_the_harm_is_told_in_numbers() -> None:
    def kill(_: random.Random) -> Done:
        return Done(text="")

    harm = Harm(blows={"rank killed": (1, kill), "Hub odd": (1, kill)}, seed=1, clock=lambda: 0, say=lambda _: None)
    harm.struck.update({"rank killed": 12})
    harm.missed.update({"rank killed": 1, "Hub odd": 2})

    assert of_harm(harm).splitlines() == [
        "harm         done  missed",
        "-----------  ----  ------",
        "rank killed    12       1",
        "Hub odd         0       2",
        "all            12       3",
    ]


def test_each_job_is_told_with_its_end_and_what_did_not_hold() -> None:
    violation = Violation(job="a", invariant="W", expected="all 200 steps", seen="step 199 at the end")

    held, broken = of_jobs([GOOD], []), of_jobs([GOOD], [violation, violation])

    assert held.splitlines() == [
        "job  end        reason     attempts  charged  given back  step  states  invariants",
        "---  ---------  ---------  --------  -------  ----------  ----  ------  ----------",
        "a    Succeeded  Published         2        0           0   200       3  held      ",
    ]
    assert broken.splitlines()[-1].split()[-1] == "W"
    assert of_violations([violation], folder=Path("build/chaos/1")) == (
        "W a: expected all 200 steps\n"
        "    saw step 199 at the end\n"
        "    look at build/chaos/1/a.jsonl (its states), build/chaos/1/harm.log and build/chaos/1/operator.log"
    )
