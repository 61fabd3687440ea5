"""Takes rows out of training sets to evaluate on, so that no text and no image is on both sides (ADR 24).

Rows that share a query or an answer, in one training set or in several, go together. Documents that answer nothing
(hard negatives, candidates with a label of 0) hold no rows together: almost all rows would. They are left out of the
rows of one side instead.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from finetune_api.evaluators import Evaluator
from finetune_api.losses import Label
from finetune_api.reasons import Reason
from finetune_trainer.prepare.layout.groups import Group, choose_groups, group_rows
from finetune_trainer.prepare.rows.forms import reached
from finetune_trainer.prepare.rows.opening import OpenEvaluation, OpenInputs, OpenTrain
from finetune_trainer.prepare.rows.requests import DOCUMENT, DOCUMENTS, QUERY
from finetune_trainer.prepare.rows.rows import BadRow, Row, is_negative, key_of, read_rows
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.workspace.problems import InputProblem, as_failure

_JUDGED = (Label.SCORE, Label.BINARY, Label.SCORES)
#: What is measured by documents that answer nothing: a row without any says nothing.
_NEEDS_OTHERS = (Evaluator.RERANKING, Evaluator.TRIPLET)
#: A share that is missed by more than this is told.
_MISSED = 0.1


@dataclass
class Contents:
    """The usable rows of one training set, their texts and images as numbers."""

    indices: list[int] = field(default_factory=list)
    """Of the rows in their table."""
    bound: list[list[int]] = field(default_factory=list)
    """Query and answers of each row."""
    loose: list[list[int]] = field(default_factory=list)
    """Its other documents."""
    num_queries: int = 0
    """Per row, 1 or 0."""

    def others(self, row: int, left_out: set[int]) -> int:
        """Return how many documents that answer nothing a row has without those that are left out."""
        return sum(key not in left_out for key in self.loose[row])

    def documents(self, row: int, left_out: set[int]) -> int:
        """Return how many documents a row has without those that are left out."""
        return len(self.bound[row]) - self.num_queries + self.others(row, left_out)


@dataclass(frozen=True)
class Side:
    """Rows to train on, or rows to evaluate on."""

    rows: list[list[int]]
    """Of each training set."""
    left_out: set[int]
    """Documents that answer nothing and are on the other side."""
    keys: frozenset[bytes]
    """The same, as they are known when the rows are read again."""


def hold_out(
    inputs: OpenInputs, place: Workplace, *, seed: int, max_short_ratio: float
) -> tuple[OpenInputs, list[str]]:
    """Return the inputs with rows moved from training to evaluation sets, and what deserves a look.

    Raises:
        RunFailure: the rows do not allow to hold so many of them out.

    """
    if not any(one.dataset.hold_out for one in inputs.train):
        return inputs, []
    keys: dict[bytes, int] = {}
    contents = [_read(one, keys, place) for one in inputs.train]
    targets, problems = _targets(inputs.train, contents)
    found = iter(group_rows(bound for one in contents for bound in one.bound))
    groups_of = [[next(found) for _ in one.indices] for one in contents]
    groups = _sizes(groups_of)
    chosen = choose_groups(groups, targets, seed=seed)
    trained, held = _sides(contents, groups_of, chosen, list(keys))
    for number, target in targets.items():
        if not held.rows[number]:
            problems.append(_nothing_fits(inputs.train[number], target, number, groups))
    if problems:
        raise as_failure(problems)
    train = [
        _trained(one, content, rows, trained, max_short_ratio=max_short_ratio)
        for one, content, rows in zip(inputs.train, contents, trained.rows, strict=True)
    ]
    by_name = {one.dataset.name: number for number, one in enumerate(inputs.train)}
    evaluations = [
        one if one.held_out_of is None else _held(one, contents, by_name[one.held_out_of], held)
        for one in inputs.evaluations
    ]
    if problems := [*_emptied(train, evaluations)]:
        raise as_failure(problems)
    notices = [*_missed(inputs.train, held, targets), *_lost(train, contents, trained, held, targets)]
    return replace(inputs, train=train, evaluations=evaluations), notices


def _read(train: OpenTrain, keys: dict[bytes, int], place: Workplace) -> Contents:
    found = Contents(num_queries=int(QUERY in train.table.request.columns))
    for index, row in enumerate(read_rows(train.table, place)):
        if isinstance(row, BadRow):
            continue
        bound, loose = _cells(row, judged=train.form.label in _JUDGED)
        found.indices.append(index)
        found.bound.append([keys.setdefault(key_of(value), len(keys)) for value in bound])
        found.loose.append([keys.setdefault(key_of(value), len(keys)) for value in loose])
    return found


def _cells(row: Row, *, judged: bool) -> tuple[list[str], list[str]]:
    """Return the values that hold a row together with others, and those that do not."""
    bound: list[str] = []
    loose: list[str] = []
    for part, cell in row.cells.items():
        labels = row.label if part == DOCUMENTS else [row.label] * len(cell) if part == DOCUMENT else None
        if is_negative(part):
            loose += cell
        elif judged and isinstance(labels, list) and len(labels) == len(cell):
            for value, label in zip(cell, labels, strict=True):
                (bound if isinstance(label, list) or label is None or label > 0 else loose).append(value)
        else:
            bound += cell
    return bound, loose


def _targets(train: Sequence[OpenTrain], contents: Sequence[Contents]) -> tuple[dict[int, int], list[InputProblem]]:
    """Return how many rows each set is to hold out, by its number, and why some cannot."""
    targets, problems = {}, []
    for number, (one, found) in enumerate(zip(train, contents, strict=True)):
        wanted, rows = one.dataset.hold_out, len(found.indices)
        if wanted is None:
            continue
        target = wanted if isinstance(wanted, int) else max(1, round(float(wanted.removesuffix("%")) * rows / 100))
        if target < rows:
            targets[number] = target
        else:
            because = f"{target} of {rows} usable rows leave none to train on"
            problems.append(_problem(one, because, "hold less out, or name a set in data.evaluation"))
    return targets, problems


def _sizes(groups_of: Sequence[Sequence[int]]) -> Mapping[int, Group]:
    sizes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for number, groups in enumerate(groups_of):
        for group in groups:
            sizes[group][number] += 1
    return sizes


def _nothing_fits(train: OpenTrain, target: int, number: int, groups: Mapping[int, Group]) -> InputProblem:
    sizes = sorted(group[number] for group in groups.values() if number in group)
    because = (
        f"that is {target} of {sum(sizes)} rows, and rows that share a query or an answer, directly or through others, "
        f"go together: they make {'one group' if len(sizes) == 1 else f'{len(sizes)} groups'} of {_span(sizes)} rows"
    )
    return _problem(train, because, ("" if len(sizes) == 1 else "hold more out, or ") + "name a set in data.evaluation")


def _span(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"


def _problem(train: OpenTrain, because: str, fix: str) -> InputProblem:
    value = train.dataset.hold_out
    message = f"{train.table.request.field}.holdOut: {value!r} is wrong because {because}; {fix}"
    return InputProblem(Reason.INVALID_ARGUMENT, message)


def _sides(
    contents: Sequence[Contents], groups_of: Sequence[Sequence[int]], chosen: set[int], keys: Sequence[bytes]
) -> tuple[Side, Side]:
    """Return the side to train on and the side to evaluate on; they share nothing.

    What answers on one side is left out of the other. What answers on neither is measured, not trained on.
    """
    trained = [[row for row, group in enumerate(groups) if group not in chosen] for groups in groups_of]
    held = [[row for row, group in enumerate(groups) if group in chosen] for groups in groups_of]
    answers = {key for one, rows in zip(contents, trained, strict=True) for row in rows for key in one.bound[row]}
    own = {key for one, rows in zip(contents, held, strict=True) for row in rows for key in one.bound[row]}
    others = {key for one, rows in zip(contents, held, strict=True) for row in rows for key in one.loose[row]}

    def side(rows: list[list[int]], left_out: set[int]) -> Side:
        return Side(rows, left_out, frozenset(keys[key] for key in left_out))

    return side(trained, own | (others - answers)), side(held, others & answers)


def _trained(
    train: OpenTrain, found: Contents, rows: Sequence[int], side: Side, *, max_short_ratio: float
) -> OpenTrain:
    """Return a training set with its rows of the side, and as many negatives as these have."""
    kept = [row for row in rows if found.documents(row, side.left_out)]
    gone = {*found.indices} - {found.indices[row] for row in kept}
    # Rows that cannot be read stay: they are counted and told as ever.
    indices = [index for index in range(len(train.table.rows)) if index not in gone]
    form = train.form
    if form.num_negatives and kept and train.dataset.mine_negatives is None:
        counts = [found.others(row, side.left_out) for row in kept]
        fewest = max(1, reached(counts, max_short_ratio=max_short_ratio))
        form = replace(form, num_negatives=min(form.num_negatives, fewest))
    return replace(train, table=replace(train.table.take(indices), left_out=side.keys), form=form)


def _held(evaluation: OpenEvaluation, contents: Sequence[Contents], number: int, side: Side) -> OpenEvaluation:
    """Return an evaluation set with those rows of a training set that something can be measured on."""
    found, rows = contents[number], side.rows[number]
    count = found.others if evaluation.evaluator in _NEEDS_OTHERS else found.documents
    indices = [found.indices[row] for row in rows if count(row, side.left_out)]
    table = replace(evaluation.tables["rows"].take(indices), left_out=side.keys)
    return replace(evaluation, tables={"rows": table})


def _emptied(train: Sequence[OpenTrain], evaluations: Sequence[OpenEvaluation]) -> Iterator[InputProblem]:
    for one in train:
        if not len(one.table.rows):
            because = "every row shares a query or an answer with rows that are held out"
            yield InputProblem(Reason.EMPTY_DATASET, f"{one.table.where}: {because}; leave the set or holdOut out")
    for evaluation in evaluations:
        if evaluation.held_out_of is not None and not len(evaluation.tables["rows"].rows):
            because = "the documents that answer nothing are all trained on, so that there is nothing to rank"
            fix = "name a set in data.evaluation instead"
            yield InputProblem(Reason.EMPTY_DATASET, f"{evaluation.tables['rows'].where}: {because}; {fix}")


def _missed(train: Sequence[OpenTrain], held: Side, targets: Mapping[int, int]) -> Iterator[str]:
    for number, target in targets.items():
        rows = len(held.rows[number])
        if rows < target * (1 - _MISSED):
            yield (
                f"{train[number].table.request.field}.holdOut: {rows} rows are held out instead of {target}: rows that "
                "share a query or an answer go together, and no other group is small enough"
            )


def _lost(
    train: Sequence[OpenTrain], contents: Sequence[Contents], trained: Side, held: Side, targets: Mapping[int, int]
) -> Iterator[str]:
    """Yield what is neither trained nor measured, set by set."""
    for number, (one, found) in enumerate(zip(train, contents, strict=True)):
        rows = trained.rows[number]
        kept = [row for row in rows if found.documents(row, trained.left_out)]
        lost = len(rows) - len(kept) + (0 if number in targets else len(held.rows[number]))
        if lost:
            yield f"{one.table.where}: {lost} rows share texts or images with rows that are held out; they are left out"
        if documents := sum(len(found.loose[row]) - found.others(row, trained.left_out) for row in kept):
            yield (
                f"{one.table.where}: {documents} documents that answer nothing are among those held out; they are left "
                "out of the rows to train on"
            )
        if documents := sum(len(found.loose[row]) - found.others(row, held.left_out) for row in held.rows[number]):
            yield (
                f"{one.table.where}: {documents} documents that answer nothing are among those trained on; they are "
                "left out of the rows held out"
            )
