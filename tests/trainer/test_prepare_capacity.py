"""prepare refuses what cannot fit into what the manifest asks for, and tells what may not."""

from pathlib import Path

import pytest

from finetune_api.reasons import Reason
from finetune_trainer.prepare.prepare import prepare
from tests.trainer.conftest import MakeRun
from tests.trainer.test_prepare import failure_of
from tests.trainer.test_prepare_batches import LARGE, SMALL, TEXTS, pages_run, texts_run


@pytest.mark.parametrize(
    ("epochs", "figures"), [(1, ("455 MB", "1 x 273 MB", "483Mi")), (1000, ("1.0 GB", "3 x 273 MB", "2Gi"))]
)
def test_a_volume_that_cannot_hold_the_checkpoints_that_are_written_is_refused_before_an_accelerator_is_asked_for(
    make_run: MakeRun, claim: Path, text_model: Path, epochs: int, figures: tuple[str, str, str]
) -> None:
    training = {"numTrainEpochs": epochs}
    run = texts_run(make_run, claim, text_model, TEXTS, storage={"size": "200Mi"}, training=training)

    failure = failure_of(run)

    need, checkpoints, advice = figures
    assert failure.reason is Reason.INVALID_ARGUMENT
    assert failure.message == (
        f"spec.storage.size: 200Mi (210 MB) is wrong because the job needs at least {need} of storage: 92 MB of inputs "
        f"+ 1 x 91 MB of result + {checkpoints} of checkpoints, one being written; ask for {advice}"
    )


def test_memory_that_holds_no_weights_with_their_optimizer_is_refused(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    resources = {"accelerator": {"perNode": 0}, "requests": {"memory": "256Mi"}}

    failure = failure_of(texts_run(make_run, claim, text_model, TEXTS, resources=resources))

    assert (failure.reason, failure.message) == (
        Reason.INVALID_ARGUMENT,
        "spec.resources.requests.memory: 256Mi (268 MB) is wrong because each pod needs at least 363 MB of host memory"
        ": 1 x 91 MB of weights + 1 x 273 MB of gradients and optimizer; ask for 2Gi",
    )


def test_what_may_be_too_little_is_told(make_run: MakeRun, claim: Path, text_model: Path) -> None:
    resources = {"accelerator": {"perNode": 0}, "requests": {"memory": "1Gi"}}
    run = texts_run(make_run, claim, text_model, TEXTS, resources=resources)

    result = prepare(run.config, run.settings)

    assert (result.reason, result.warnings[0]) == (
        Reason.VALIDATED,
        "spec.resources.requests.memory: 1Gi (1.1 GB) may not be enough, as each pod needs about 1.6 GB of host memory"
        ": 1 x 91 MB of weights + 1 x 273 MB of gradients and optimizer + 1 x 1.1 GB of libraries + 91 MB to save "
        "them; ask for 2Gi",
    )


def test_images_that_cannot_wait_in_shared_memory_are_refused_by_their_mean_size(
    make_run: MakeRun, tmp_path: Path, tiny_model: Path
) -> None:
    resources = {"accelerator": {"perNode": 1}, "requests": {"cpu": "4"}, "sharedMemory": "1M"}
    run = pages_run(make_run, tmp_path, tiny_model, sizes=[SMALL, LARGE, SMALL], resources=resources)

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.INVALID_ARGUMENT,
        "spec.resources.sharedMemory: 1M (1.0 MB) is wrong because each pod needs at least 1.4 MB of shared memory: "
        "1 batches that wait x 3 rows x 459 kB in the mean; ask for 9Mi",
    )


def test_a_machine_without_a_cluster_is_not_held_against_what_pods_would_get(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    run = texts_run(make_run, claim, text_model, TEXTS, storage={"size": "200Mi"})

    result = prepare(run.config.model_copy(update={"in_pods": False}), run.settings)

    assert result.reason is Reason.VALIDATED
