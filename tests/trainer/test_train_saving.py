from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetune_trainer.train.loop import fit
from finetune_trainer.train.report.tracker import Tracker


def test_a_checkpoint_tells_how_long_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((100.0, 172.46))
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    tracker = Tracker(attempt=1)
    session: Any = SimpleNamespace(tracker=tracker, ranks=SimpleNamespace(is_writer=True))
    trainer: Any = SimpleNamespace(write_state=lambda _: None)
    store: Any = SimpleNamespace(write=lambda _: nullcontext(tmp_path))

    fit.save(session, trainer, store, step=7)

    assert tracker.checkpoint is not None
    assert (tracker.checkpoint.step, tracker.checkpoint.save_seconds) == (7, 72.5)
