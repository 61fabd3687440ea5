"""The estimate of a manifest whose data nobody has read yet: documents are taken for images where the model sees."""

from collections.abc import Mapping
from dataclasses import dataclass

from finetune_api.datasets import TrainDataset
from finetune_api.sense import evaluation_sets
from finetune_api.types import FinetuneJobSpec, NamedSource, named_models
from finetune_cli.local.model_files import ModelFiles
from finetune_trainer.recipe.capacity.estimate import Batch, Job, estimate, evaluation_bytes, sharding_note
from finetune_trainer.recipe.capacity.figures import (
    InputFigures,
    ModelFigures,
    image_settings,
    layers_of,
    stacks_of,
    text_figures,
    trained_of,
)
from finetune_trainer.recipe.capacity.need import Need, gigabytes

MILLION = 1_000_000
_TRAINED = ("spec.model", "spec.model.router.routes.")


@dataclass(frozen=True)
class Estimate:
    """What a job needs, and what was taken for granted."""

    needs: list[Need]
    notes: list[str]


def estimate_manifest(
    spec: FinetuneJobSpec,
    models: Mapping[str, ModelFiles],
    *,
    on_cpu: bool = False,
    device_bytes: float | None = None,
) -> Estimate:
    """Return what a job needs, by its manifest and the files of its models by source.

    Args:
        spec: of the job.
        models: by source, all that the spec names.
        on_cpu: whether its accelerators are simulated, as those of `make demo` are.
        device_bytes: memory of an accelerator, where somebody has said it.

    """
    trained = [one for one in named_models(spec) if one.path == _TRAINED[0] or one.path.startswith(_TRAINED[1])]
    figures = _figures(spec, trained, models)
    document, notes = _document(spec, [models[one.source] for one in trained])
    lengths = [models[one.source].max_seq_length for one in trained]
    query = text_figures(spec.model.max_seq_length or next((length for length in lengths if length), None))
    batches = [
        Batch(spec.training.per_device_train_batch_size, (query, *[document or query] * _num_documents(train)))
        for train in spec.data.train
    ]
    on_cpu = on_cpu or not spec.resources.accelerator.per_node
    job = Job(spec, figures, batches, on_cpu=on_cpu, device_bytes=device_bytes)
    notes += [*_not_counted(job), *filter(None, [sharding_note(job)])]
    return Estimate(estimate(job), [*notes, "the data, which has to fit beside them, is not counted"])


def _not_counted(job: Job) -> list[str]:
    """Return what evaluation sets take, of which nobody knows yet how large they are."""
    needed = evaluation_bytes(job.spec, job.model, MILLION)
    if not evaluation_sets(job.spec) or not needed:
        return []
    of = "host memory" if job.on_cpu else "device memory"
    return [f"a million texts or images to evaluate take {gigabytes(needed)} of each process's {of}; not counted"]


def _figures(spec: FinetuneJobSpec, trained: list[NamedSource], models: Mapping[str, ModelFiles]) -> ModelFigures:
    read = [models[one.source] for one in trained]
    routes = spec.model.router.routes if spec.model.router else {}
    frozen = {route.source for route in routes.values() if route.freeze}
    return ModelFigures(
        parameters=sum(_count(one) for one in read),
        trained=sum(
            trained_of(models[one.source].shapes, lora=spec.model.lora, frozen=tuple(spec.model.freeze))
            for one in trained
            if one.source not in frozen
        ),
        stored_bytes=sum(models[source].stored_bytes for source in {one.source for one in named_models(spec)}),
        stacks=tuple(stack for one in read for stack in stacks_of(one.config)),
        layers=tuple(
            layer
            for one in trained
            if one.source not in frozen and spec.model.lora is None
            for layer in layers_of(models[one.source].shapes, frozen=tuple(spec.model.freeze))
        ),
    )


def _count(model: ModelFiles) -> int:
    return trained_of(model.shapes, lora=None, frozen=())


def _document(spec: FinetuneJobSpec, models: list[ModelFiles]) -> tuple[InputFigures | None, list[str]]:
    """Return the largest image that the processor makes, if one of the models takes images."""
    found = [image_settings(one.config, one.processor, spec.model.processor_kwargs) for one in models]
    settings = next((one for one in found if one is not None), None)
    if settings is None:
        return None, []
    return settings.figures, [
        f"documents are taken for images of {settings.pixels} pixels, the most that they may have"
    ]


def _num_documents(train: TrainDataset) -> int:
    """Return the documents of a row; a column of lists counts as one."""
    columns = train.columns
    mined = train.mine_negatives.num_negatives if train.mine_negatives else 0
    return 1 + len(columns.negatives) + mined
