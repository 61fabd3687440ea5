"""The trainer image of a run: chosen when the run begins, and the same for all its roles and gangs from then on.

Neither an upgrade of the operator nor a tag that moves changes the libraries of a run on its way. Its owner does, with
spec.image, and a rerun begins with what the operator has then.
"""

from finetune_api.status import FinetuneJobStatus, ImageStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.observed import PodView
from finetune_operator.core.platform import Platform


def pinned_image(job: FinetuneJob, platform: Platform) -> ImageStatus:
    """Return the image that the next children of the job are made with."""
    known, requested = job.status.image, job.spec.image
    if known is not None and known.requested == requested:
        return known
    return ImageStatus(name=requested or platform.trainer_image, requested=requested)


def with_digest(status: FinetuneJobStatus, pods: tuple[PodView, ...]) -> FinetuneJobStatus:
    """Return the status with the digest that the nodes of these pods found behind the image's tag, if they tell one."""
    image_ids = [container.image_id for pod in pods for container in pod.containers if container.image_id]
    if status.image is None or not image_ids:
        return status
    image = status.image.model_copy(update={"name": resolve(status.image.name, image_ids[-1])})
    return status.model_copy(update={"image": image})


def resolve(name: str, image_id: str) -> str:
    """Return `registry/trainer:1` as `registry/trainer@sha256:...`; as it is where a registry would not know that.

    An image that was loaded into a node, and not pulled, has the digest of another name or none.
    """
    found, _, digest = image_id.partition("@")
    folder, slash, last = name.rpartition("/")
    repository = f"{folder}{slash}{last.partition(':')[0]}"
    is_same = found == repository or found.endswith(f"/{repository}")
    return f"{repository}@{digest}" if is_same and digest.startswith("sha256:") and "@" not in name else name
