"""What lies beside a published model and tells of it: the card with its pictures, the curves, the record of the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from finetune_trainer.publish.card.pictures import draw_pictures
from finetune_trainer.publish.card.render import render_card
from finetune_trainer.publish.events import write_events
from finetune_trainer.publish.proof import CARD, RECORD, RUNS
from finetune_trainer.publish.record import record_of
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.whole_file import write_whole


def write_beside(  # noqa: PLR0913 - all that a run is
    model: Mapping[str, Path],
    config: RunConfig,
    workspace: Workspace,
    report: Report,
    inputs: InputsManifest,
    *,
    base_cards: Sequence[Path],
) -> dict[str, Path]:
    """Write it next to the receipt; return path in the repository to local file. Equal inputs give equal bytes."""
    place, run = workspace.receipt.parent, f"{RUNS}{report.run}"
    (place / run).mkdir(parents=True, exist_ok=True)
    pictures = {}
    for name, content in draw_pictures(config, report).items():
        pictures[name] = f"{run}/{name}.png"
        (place / pictures[name]).write_bytes(content)
    ended = int(workspace.report.stat().st_mtime)
    events = f"{run}/events.out.tfevents.{ended}"
    write_events(place / events, report, metric=config.spec.evaluation.metric, time=ended)
    card = render_card(config, report, inputs, base_cards=base_cards, pictures=pictures)
    (place / CARD).write_text(card, encoding="utf-8")
    record = record_of(report, inputs, model).model_dump_json(by_alias=True, indent=1, exclude_none=True)
    write_whole(place / RECORD, record + "\n")
    return {path: place / path for path in (CARD, RECORD, events, *pictures.values())}
