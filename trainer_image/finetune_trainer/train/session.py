"""What one process knows about the run it takes part in."""

import os
from dataclasses import dataclass
from functools import cached_property

from finetune_api import keys
from finetune_api.contract import RunConfig
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.train.checkpoints.best import BestModel
from finetune_trainer.train.checkpoints.store import CheckpointStore
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.gang.stop import StopRequest
from finetune_trainer.train.report.build import versions
from finetune_trainer.train.report.tracker import Tracker
from finetune_trainer.workspace.fence import Fence


@dataclass(frozen=True)
class Session:
    """The job, the volume, the gang, and who is told about it."""

    config: RunConfig
    workspace: Workspace
    attempt: int
    ranks: Ranks
    tracker: Tracker
    stop: StopRequest
    run: str
    """The run's id, as prepare found it."""

    @property
    def spec(self) -> FinetuneJobSpec:
        """Return what is to be trained."""
        return self.config.spec

    @property
    def whole_gang(self) -> int:
        """Return the processes that a global batch is for: all that the job asks for, where a gang may have fewer."""
        may_be_smaller = len(self.spec.resources.gang_sizes) > 1
        return self.config.world_size if may_be_smaller else self.ranks.world_size

    @property
    def fence(self) -> Fence:
        """Return the guard against writes of an older gang and of another run."""
        return Fence.of(self.workspace, self.config, run=self.run, attempt=self.attempt)

    @property
    def best(self) -> BestModel:
        """Return the best model's folder."""
        folder, warn = self.workspace.best_model, self.tracker.warn
        return BestModel(folder, fence=self.fence, run=self.run, warn=warn)

    @cached_property
    def checkpoints(self) -> CheckpointStore:
        """Return the checkpoints of this job; one store, as it reads none of them twice."""
        return CheckpointStore(
            self.workspace.checkpoints,
            fence=self.fence,
            keep=self.spec.checkpoint.keep,
            run=self.run,
            world_size=self.ranks.world_size,
            versions={**versions(), "image": os.environ.get(keys.ENV_IMAGE, "")},
            warn=self.tracker.warn,
        )
