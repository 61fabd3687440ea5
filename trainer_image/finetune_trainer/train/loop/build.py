"""Puts the trainer together: sets, losses, arguments and collator."""

from datasets import DatasetDict
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.training_args import BaseTrainingArguments
from torch.nn import Module
from transformers import PrinterCallback, set_seed

from finetune_trainer.recipe.arguments.training import training_arguments
from finetune_trainer.recipe.batches.dealing import deal
from finetune_trainer.recipe.batches.rows import PairCollator, RowCollator, RowReader
from finetune_trainer.recipe.batches.schedule import Schedule, plan
from finetune_trainer.recipe.batches.sets import TrainingSet, mix, read_sets, smaller_batches
from finetune_trainer.recipe.capacity.estimate import chosen_sharding
from finetune_trainer.recipe.losses.build import build_loss
from finetune_trainer.recipe.model.figures import model_figures
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.recipe.model.load import autocast_dtype
from finetune_trainer.recipe.model.prompts import prompts_of
from finetune_trainer.train.loop.trainer import GangTrainer, RerankerTrainer, RetrievalTrainer
from finetune_trainer.train.session import Session
from finetune_trainer.workspace.manifest import InputsManifest


def open_trainer(
    session: Session,
    inputs: InputsManifest,
    model: SentenceTransformer | CrossEncoder,
    reader: InputReader,
    *,
    began_with: int,
) -> tuple[GangTrainer, Schedule]:
    """Return the trainer of the prepared sets, and the schedule that it keeps; nothing is trained yet."""
    for warning in smaller_batches(inputs.train, session.spec, world_size=began_with):
        session.tracker.warn(warning)
    sets = read_sets(session.spec, inputs.train, session.workspace, world_size=began_with)
    return build_trainer(session, sets, model, reader, began_with=began_with)


def build_trainer(
    session: Session,
    sets: list[TrainingSet],
    model: SentenceTransformer | CrossEncoder,
    reader: InputReader,
    *,
    began_with: int,
) -> tuple[GangTrainer, Schedule]:
    """Return the trainer and the schedule that it keeps; nothing is trained yet.

    Args:
        session: of this rank.
        sets: with the batches of so many ranks as the training began with.
        model: that is trained.
        reader: of the rows' cells.
        began_with: that number of ranks.

    """
    spec, ranks = session.spec, session.ranks
    batches = mix(sets, spec, world_size=began_with)
    dealt = deal(sets, spec, began_with=began_with, world_size=ranks.world_size, steps=batches.steps)
    batches.parts = dealt.parts
    batch_size = max(one.batches.batch_size for one in sets)
    schedule = plan(spec, batch_size=batch_size, batches_per_epoch=batches.steps)
    arguments = training_arguments(
        spec,
        session.workspace,
        schedule=schedule,
        sets=[one.prepared for one in sets],
        prompts=prompts_of(model),
        device=ranks.device,
        autocast=autocast_dtype(spec, device=ranks.device),
    )
    arguments.gradient_accumulation_steps = dealt.accumulation
    trainer = (RerankerTrainer if isinstance(model, CrossEncoder) else RetrievalTrainer)(
        ranks=ranks,
        sharding=chosen_sharding(
            spec,
            model_figures(model),
            on_cpu=ranks.device.type == "cpu",
            device_bytes=ranks.device_bytes(),
        ),
        batches=batches,
        losses=build_losses(session, sets, model),
        warn=session.tracker.warn,
        model=model,
        args=arguments,
        train_dataset=sets[0].rows if len(sets) == 1 else DatasetDict({one.name: one.rows for one in sets}),
        data_collator=build_collator(sets, model, reader, arguments),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, schedule


def build_collator(
    sets: list[TrainingSet],
    model: SentenceTransformer | CrossEncoder,
    reader: InputReader,
    arguments: BaseTrainingArguments,
) -> RowCollator | PairCollator:
    """Return what makes batches of rows."""
    rows = RowReader(reader, [one.prepared for one in sets])
    if isinstance(model, CrossEncoder):
        return PairCollator(rows=rows, model=model, prompts=arguments.prompts)
    return RowCollator(
        rows=rows,
        preprocess_fn=model.preprocess,
        prompts=arguments.prompts,
        router_mapping=arguments.router_mapping,
    )


def build_losses(
    session: Session, sets: list[TrainingSet], model: SentenceTransformer | CrossEncoder
) -> dict[str, Module]:
    """Return the loss of each set by its name; sets with equal objectives share one, and what it trains."""
    spec = session.spec
    set_seed(spec.training.seed)  # for layers that losses have of their own
    distinct = {one.objective.model_dump_json(): one.objective for one in sets}
    built = {
        key: build_loss(
            objective,
            model,
            kind=spec.model.kind,
            world_size=session.ranks.world_size,
            workspace=session.workspace,
        )
        for key, objective in distinct.items()
    }
    return {one.name: built[one.objective.model_dump_json()] for one in sets}
