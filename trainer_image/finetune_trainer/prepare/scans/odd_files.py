"""Which of several whole files does not fit the others: the library reads a split as one table."""

from collections.abc import Sequence

from finetune_trainer.prepare.scans.findings import BrokenFile, Columns, fits, listed

#: Name and columns of a file.
Scanned = tuple[str, Columns]

_NEVER_EMPTY = ("parquet", "arrow")


def find_odd(scanned: Sequence[Scanned], *, reader: str) -> tuple[str, BrokenFile] | None:
    """Return the first file that does not fit the first one with rows, None if all do."""
    first, known = next(((name, columns) for name, columns in scanned if columns.rows), ("", Columns()))
    exact = reader == "csv"  # other readers fill up columns that are missing, and go by name
    for name, columns in scanned:
        if not columns.rows and (exact or (not columns.kinds and reader in _NEVER_EMPTY)):
            return name, BrokenFile("it has no rows, as other files of the split have", "delete it")
        if because := _difference(columns, known, first, exact=exact):
            return name, BrokenFile(because, "give all files of a split the same columns and types")
    return None


def _difference(columns: Columns, known: Columns, first: str, *, exact: bool) -> str | None:
    """Return how columns differ from those of the file `first`."""
    added = [column for column in columns.kinds if column not in known.kinds]
    missing = [column for column in known.kinds if exact and column not in columns.kinds]
    if added or missing:
        told = [f"has {listed(added)}, which {first} has not"] if added else []
        told += [f"lacks {listed(missing)}, which {first} has"] if missing else []
        return f"it {' and '.join(told)}"
    others = [
        f"{column} holds {kind} ({known.kinds[column]} in {first})"
        for column, kind in columns.kinds.items()
        if (kind != known.kinds[column] if exact else not fits(kind, known.kinds[column]))
    ]
    if others:
        return f"column {listed(others)}"
    if exact and list(columns.kinds) != list(known.kinds):
        return f"its columns come in another order than those of {first}"
    return None
