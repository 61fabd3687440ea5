"""Batches without duplicates: comparing decoded images as the library does against comparing content hashes."""

from benchmarks.training.levers.finding import Finding, seconds_of
from benchmarks.training.levers.setting import Setting
from benchmarks.training.reference.shared import load_rows


def measure_deduplication(setting: Setting) -> list[Finding]:
    """Milliseconds of the data loader's main process per row and rank, for one epoch's order."""
    from sentence_transformers.base.sampler import NoDuplicatesBatchSampler  # noqa: PLC0415

    from finetune_trainer.recipe.batches.rows import read_rows  # noqa: PLC0415
    from finetune_trainer.recipe.batches.sampler import DistinctBatches, number_cells  # noqa: PLC0415

    recipe, columns = setting.recipe, [column.name for column in setting.train.columns]
    decoded = load_rows(recipe, recipe.train).select_columns([recipe.query, recipe.positive, *recipe.train.negatives])
    prepared = read_rows(setting.workspace, setting.train)

    def by_image() -> list[list[int]]:
        return list(NoDuplicatesBatchSampler(decoded, recipe.batch_size, drop_last=True, seed=0))

    def by_hash() -> list[list[int]]:
        cells = number_cells([prepared[column] for column in columns])
        return list(DistinctBatches(cells, batch_size=recipe.batch_size, world_size=1, seed=0).of_epoch(0))

    off, on = (1000 * seconds / recipe.rows for seconds in seconds_of(by_image, by_hash, rounds=1))
    return [Finding("duplicates by content hash", "ms per row", off, on, "every rank pays it")]
