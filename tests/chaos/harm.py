"""What is done to the jobs: blow after blow, drawn by chance, and taken back after a while where it would last."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from subprocess import CalledProcessError

from tests.stack.kubectl import KubectlError

#: Between two blows.
LEAST_SECONDS, MOST_SECONDS = 5.0, 35.0
#: After which what could not be taken back is tried once more.
AGAIN_SECONDS = 5.0


class NoVictimError(Exception):
    """Nothing is there that this blow could hit."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a blow did, and how it is taken back where it would last."""

    text: str
    undo: Callable[[], object] | None = None
    undo_after_seconds: float = 0.0


#: Does harm by the given chance; raises NoVictimError.
Blow = Callable[[random.Random], Done]
#: The last is how the cluster's driver says that a node does not start.
MISSED = (NoVictimError, KubectlError, CalledProcessError, OSError, SystemExit)


def choose(blows: Mapping[str, tuple[int, Blow]], names: str) -> dict[str, tuple[int, Blow]]:
    """Return the blows of these names, which have commas in between; all of them if there is none."""
    wanted = {name.strip() for name in names.split(",")} - {""} or {*blows}
    if unknown := wanted - {*blows}:
        raise SystemExit(f"{', '.join(sorted(unknown))}: no such blow; there are {', '.join(blows)}")
    return {name: blow for name, blow in blows.items() if name in wanted}


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """Harm that is still to be taken back."""

    name: str
    undo: Callable[[], object]
    at: float


@dataclass(kw_only=True)
class Harm:
    """Draws blows. Which one comes and when is by the seed alone; whom it hits depends on who is there."""

    blows: Mapping[str, tuple[int, Blow]]
    """Each with its share."""
    seed: int
    clock: Callable[[], float]
    say: Callable[[str], None]
    struck: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    lasting: list[Lasting] = field(default_factory=list)
    _due: float = 0.0

    def go_on(self) -> None:
        """Do what is due by the clock: take back, strike."""
        self._take_back([one for one in self.lasting if one.at <= self.clock()])
        if self.clock() >= self._due:
            self._due = self.clock() + self._strike()

    def mend(self) -> None:
        """Take back all that lasts; what cannot be is said and stays in `lasting`."""
        self._take_back([*self.lasting])

    def _strike(self) -> float:
        """Do one thing and return the seconds until the next."""
        chance = random.Random(f"{self.seed}/{self.struck.total() + self.missed.total()}")
        name = chance.choices([*self.blows], [share for share, _ in self.blows.values()])[0]
        pause = chance.uniform(LEAST_SECONDS, MOST_SECONDS)
        try:
            done = self.blows[name][1](chance)
        except MISSED as error:
            self.missed[name] += 1
            self.say(f"{name}: missed ({_first_line(error)})")
            return pause
        self.struck[name] += 1
        self.say(f"{name}: {done.text}")
        if done.undo is not None:
            self.lasting.append(Lasting(name=name, undo=done.undo, at=self.clock() + done.undo_after_seconds))
        return pause

    def _take_back(self, due: list[Lasting]) -> None:
        for one in due:
            self.lasting.remove(one)
            try:
                one.undo()
            except MISSED as error:
                self.say(f"{one.name}: not taken back yet ({_first_line(error)})")
                self.lasting.append(Lasting(name=one.name, undo=one.undo, at=self.clock() + AGAIN_SECONDS))
            else:
                self.say(f"{one.name}: taken back")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:160]
