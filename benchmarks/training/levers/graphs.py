"""Mini-batches of the cached loss that are embedded once, because their graphs fit in memory, instead of twice."""

from benchmarks.training.levers.finding import Finding, seconds_of
from benchmarks.training.levers.mini_batch import build, features_of_one_step, step
from benchmarks.training.levers.setting import Setting
from finetune_trainer.recipe.losses.arguments import automatic_on_cpu
from finetune_trainer.train.loop.kept_graphs import KeptGraphs
from finetune_trainer.train.loop.mini_batches import cached_loss


def measure_graphs(setting: Setting) -> list[Finding]:
    """Forward and backward of one step without and with kept graphs."""
    features, loss = (
        features_of_one_step(setting),
        build(setting, **automatic_on_cpu(setting.model.get_embedding_dimension())),
    )
    again, once = (KeptGraphs(cached_loss(loss), room=lambda _, room=room: room) for room in (0, 10**12))  # type: ignore[misc]

    def make(kept: KeptGraphs) -> None:
        with kept.step():
            step(setting.model, loss, features)()

    for kept in (again, once):  # the step in which they look at the size of graphs
        make(kept)
    off, on = seconds_of(lambda: make(again), lambda: make(once))
    note = f"{once.limit} of them could be kept, {once.largest_bytes / 1e6:.0f} MB each"
    return [Finding("graphs of all mini-batches kept", "s per step", off, on, note)]
