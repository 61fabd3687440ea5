"""Finds what stands on the branch before a commit to it."""

from dataclasses import replace

from huggingface_hub.constants import DEFAULT_REVISION

from finetune_trainer.hub.standing import Standing
from finetune_trainer.publish.access import INITIAL_FILES
from finetune_trainer.publish.branch import Target


def find_standing(target: Target) -> Standing | None:
    """Return what a commit to the branch would come upon; one that is missing is made from the default one."""
    place = target if target.head() is not None else replace(target, branch=DEFAULT_REVISION)
    head = place.head()
    files = sorted(set(place.files(head)) - INITIAL_FILES) if head else []
    return Standing(files=files, run=place.run_of(head)) if head and files else None
