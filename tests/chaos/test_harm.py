import random
from collections import Counter

import pytest

from tests.chaos.blows import Blows
from tests.chaos.harm import Done, Harm, NoVictimError, choose
from tests.hub.running import running_hub
from tests.stack.kubectl import Kubectl


class Given:
    """Harm against nobody, with a clock that is moved by hand."""

    def __init__(self, *, seed: int = 7, num_victims: int = 1) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.undone: list[str] = []
        self.refusals = 0
        self.num_victims = num_victims
        blows = {"kill": (3, self._kill), "stop": (1, self._stop), "miss": (1, self._miss)}
        self.harm = Harm(blows=blows, seed=seed, clock=lambda: self.now, say=self.said.append)

    def _kill(self, chance: random.Random) -> Done:
        return Done(text=f"one of {self.num_victims}: {chance.choice(range(self.num_victims))}")

    def _stop(self, _: random.Random) -> Done:
        return Done(text="stopped", undo=self._start, undo_after_seconds=10)

    def _start(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise NoVictimError("not now\nnever")
        self.undone.append(f"at {self.now:g}")

    def _miss(self, _: random.Random) -> Done:
        raise NoVictimError("nobody is there")

    def pass_by(self, seconds: int) -> None:
        for _ in range(seconds):
            self.harm.go_on()
            self.now += 1


def names(given: Given) -> list[str]:
    return [line.partition(":")[0] for line in given.said if not line.endswith("taken back")]


def test_a_seed_gives_the_same_blows_in_the_same_order_whoever_is_there() -> None:
    few, many, others = Given(), Given(num_victims=1000), Given(seed=8)

    for given in (few, many, others):
        given.pass_by(600)

    assert names(few) == names(many)
    assert names(few) != names(others)
    assert few.harm.struck == Counter(kill=names(few).count("kill"), stop=names(few).count("stop"))
    assert few.harm.missed == Counter(miss=names(few).count("miss"))
    assert 600 / 35 <= len(names(few)) <= 600 / 5 + 1


def test_what_lasts_is_taken_back_in_time_and_again_where_it_was_refused() -> None:
    given = Given()
    given.refusals = 1

    while "stop: stopped" not in given.said:
        given.pass_by(1)
    stopped_at = given.now - 1
    while not given.undone:
        given.pass_by(1)

    assert given.undone[0] == f"at {stopped_at + 15:g}"
    assert "stop: not taken back yet (not now)" in given.said
    assert given.said.count("stop: taken back") == 1


def test_in_the_end_all_is_taken_back_at_once() -> None:
    given = Given()
    while not given.harm.lasting:
        given.pass_by(1)

    given.harm.mend()

    assert given.harm.lasting == []
    assert len(given.undone) == given.said.count("stop: taken back") > 0


@pytest.mark.parametrize("name", ["Hub broken", "Hub odd"])
def test_every_answer_that_goes_wrong_is_one_that_the_hub_knows(name: str) -> None:
    kube = Kubectl(program="false", kubeconfig="")
    with running_hub() as hub:
        _, blow = Blows(kube=kube, hub=hub, namespace="a").by_name()[name]

        told = {blow(random.Random(number)).text.partition(": ")[2] for number in range(100)}

    assert len(told) == {"Hub broken": 7, "Hub odd": 4}[name]


def test_a_blow_without_an_api_server_is_missed() -> None:
    kube = Kubectl(program="false", kubeconfig="")
    with running_hub() as hub:
        blows = {"pod deleted": Blows(kube=kube, hub=hub, namespace="a").by_name()["pod deleted"]}
        harm = Harm(blows=blows, seed=1, clock=lambda: 0.0, say=lambda _: None)

        harm.go_on()

    assert (harm.struck.total(), harm.missed) == (0, Counter({"pod deleted": 1}))


def test_some_blows_are_chosen_by_name_and_without_names_all() -> None:
    blows = Given().harm.blows

    assert choose(blows, "stop, kill") == {"kill": blows["kill"], "stop": blows["stop"]}
    assert choose(blows, "") == blows
    with pytest.raises(SystemExit, match="burn: no such blow; there are kill, stop, miss"):
        choose(blows, "stop,burn")
