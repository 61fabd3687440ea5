"""Dimensions that are drawn for each step: the same ones on every rank."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.loss_cases import DIMENSION, cases, prepare_case
from tests.trainer.test_losses_ranks import TOLERANCE, gradients_of

NAMES = ["MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss"]


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_draw_the_dimensions_that_one_process_draws(
    name: str, loss_models: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    case = next(one for one in cases(matryoshka=True) if one.loss.name == name)
    arguments = {**case.loss.arguments, "n_dims_per_step": 1}
    drawn = replace(
        case,
        loss=case.loss.model_copy(update={"arguments": arguments, "matryoshka_dimensions": [DIMENSION, 16, 8, 4, 2]}),
    )

    def jobs(batch_size: int) -> list[Any]:
        limits = {"perDeviceTrainBatchSize": batch_size, "arguments": {"max_grad_norm": 1e9}}
        return [prepare_case(drawn, tmp_path_factory.mktemp("drawn"), loss_models, **limits)]

    (alone,) = start_gang(gradients_of, jobs(6), world_size=1).results()
    together = start_gang(gradients_of, jobs(3)).results()

    for (rank,) in together:
        for one, other in zip(rank, alone[0], strict=True):
            assert np.linalg.norm(one - other) < TOLERANCE * np.linalg.norm(other)
