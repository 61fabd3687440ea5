"""What a table holds that the spec does not mention: names of media taken for texts, negatives that are not used."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from finetune_api.reasons import Reason
from finetune_trainer.prepare.images.formats import IMAGES as IMAGE_FORMATS
from finetune_trainer.prepare.images.formats import format_of
from finetune_trainer.prepare.images.media_names import ADDRESSES, IMAGES, NameCount, Named
from finetune_trainer.prepare.images.store import is_readable
from finetune_trainer.prepare.rows.columns import content_of, is_image
from finetune_trainer.prepare.rows.requests import POSITIVE, negative
from finetune_trainer.prepare.rows.tables import OpenTable
from finetune_trainer.prepare.scans.findings import listed
from finetune_trainer.workspace.problems import InputProblem

#: Names in at least this share of the texts of a column are no accident.
_REFUSED = 0.5
_TOLD = 0.01
_ROWS_AT_ONCE = 10_000
_LOOKED_AT = 20
_PLAIN = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
_NEGATIVES = re.compile(
    r"(hard[_-]?)?(neg|negative)s?([_-]?(doc|document|passage|text|image)s?)?([_-]?[0-9]+)?", re.IGNORECASE
)


def with_notices(table: OpenTable) -> OpenTable | list[InputProblem]:
    """Return the table with what deserves a look, or the columns whose texts are names of media."""
    problems, notices = list(_untyped(table)), list(_unnamed_negatives(table))
    for part, modality in table.modalities.items():
        column = table.request.columns[part]
        if modality != "text" or column in table.request.texts:
            continue
        texts = _count(table, part)
        for named in texts.found():
            share = named.count / texts.num_texts
            if share >= _REFUSED and named.kind != ADDRESSES:
                problems.append(InputProblem(Reason.UNSUPPORTED_MODALITY, _told(table, column, named, texts)))
            elif share >= _TOLD:
                notices.append(_told(table, column, named, texts))
    return problems or replace(table, notices=(*table.notices, *notices))


def _count(table: OpenTable, part: str) -> NameCount:
    counted = NameCount()
    for values in _values(table, part):
        counted.add(values)
    return counted


def _values(table: OpenTable, part: str, *, at_once: int = _ROWS_AT_ONCE) -> Iterator[Any]:
    """Yield the values of a column in pieces, those of lists one by one."""
    column = table.request.columns[part]
    for chunk in table.rows.select_columns([column]).with_format("arrow").iter(batch_size=at_once):
        cells = chunk[column].combine_chunks()
        values = pc.list_flatten(cells) if part in table.many else cells
        # Arrow computes nothing of views.
        yield values.cast(_PLAIN.get(values.type, values.type))


def _untyped(table: OpenTable) -> Iterator[InputProblem]:
    """Yield columns of bytes without a type, which are taken for images, whose first bytes are none."""
    request = table.request
    for part, modality in table.modalities.items():
        column = request.columns[part]
        if modality != "image" or column in request.images or is_image(table.rows.features[column]):
            continue
        first = next(_values(table, part, at_once=_LOOKED_AT)).drop_null().to_pylist()
        cells = (cell["bytes"] if isinstance(cell, dict) else cell for cell in first)
        contents = [content for content in cells if content]
        formats = [format_of(content) for content in contents if not is_readable(content)]
        if formats and len(formats) == len(contents) and not set(formats) & set(IMAGE_FORMATS):
            found = listed(sorted({name or "of no known format" for name in formats}))
            message = (
                f"{request.field}: column {column!r} of dataset {request.dataset} holds bytes that are no images (the "
                f"first are {found}); texts and images alone can be trained on: name a column of them"
            )
            yield InputProblem(Reason.UNSUPPORTED_MODALITY, message)


def _told(table: OpenTable, column: str, named: Named, texts: NameCount) -> str:
    request = table.request
    return (
        f"{request.field}: column {column!r} of dataset {request.dataset} holds {named.kind} in {named.count} of "
        f"{texts.num_texts} texts (for example {named.example}), and what is trained on or measured would be the names;"
        f" {_remedy(table, named)}; if the names are meant, {request.declaring('texts')}"
    )


def _remedy(table: OpenTable, named: Named) -> str:
    if named.kind in (IMAGES, ADDRESSES) and not named.example.startswith("data:"):
        hosts = ", and their hosts to spec.data.allowImageUrls" if "://" in named.example else ""
        what = "for images behind them, " if named.kind == ADDRESSES else ""
        return f"{what}{table.request.declaring('images')}{hosts}"
    if named.kind == IMAGES:
        return "write the images as a column of bytes"
    return "texts and images alone can be trained on: name a column of them, such as transcripts or images of pages"


def _unnamed_negatives(table: OpenTable) -> Iterator[str]:
    """Yield that columns of negatives are there and none is named, where answered queries may have some."""
    request = table.request
    if POSITIVE not in request.columns or negative(0) in request.columns:
        return
    idle = [name for name, feature in table.unused.items() if _NEGATIVES.fullmatch(name) and _is_content(feature)]
    if idle:
        yield (
            f"{request.field}.columns.negatives: none is named, and {listed(idle)} of dataset {request.dataset} will "
            "not be used; name them here, or take them out of the dataset"
        )


def _is_content(feature: Any) -> bool:  # noqa: ANN401 - features share no base
    return not isinstance(content_of(feature), str)
