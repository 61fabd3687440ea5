"""Rows that share a text or an image, and which groups of them are held out. Pure."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

#: Rows of each set, by its number, that are in one group.
Group = Mapping[int, int]


def group_rows(keys_of_rows: Iterable[Sequence[int]]) -> list[int]:
    """Return the group of each row, a number; rows that share a key, directly or through others, are in one.

    Keys are small numbers, each row has at least one.
    """
    parents: list[int] = []

    def root(key: int) -> int:
        while parents[key] != key:
            parents[key] = key = parents[parents[key]]
        return key

    firsts = []
    for keys in keys_of_rows:
        parents.extend(range(len(parents), max(keys) + 1))
        first = root(keys[0])
        for key in keys[1:]:
            parents[root(key)] = first
        firsts.append(keys[0])
    return [root(first) for first in firsts]


def choose_groups(groups: Mapping[int, Group], targets: Mapping[int, int], *, seed: int) -> set[int]:
    """Return groups with at most `targets` rows of each set, drawn at random but always alike.

    Groups with rows of sets that have no target come last: these rows would be lost.
    """
    drawn = sorted(groups)
    random.Random(seed).shuffle(drawn)  # noqa: S311 - which rows are held out is no secret
    taken: Counter[int] = Counter()
    chosen = set()
    for name in sorted(drawn, key=lambda name: any(number not in targets for number in groups[name])):
        wanted = {number: rows for number, rows in groups[name].items() if number in targets}
        if wanted and all(taken[number] + rows <= targets[number] for number, rows in wanted.items()):
            taken.update(wanted)
            chosen.add(name)
    return chosen
