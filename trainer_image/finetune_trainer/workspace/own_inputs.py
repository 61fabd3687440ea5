"""The inputs of this run and no other: two jobs may have been given one folder."""

from finetune_api.contract import RunConfig
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.fence import read_owner
from finetune_trainer.workspace.manifest import InputsManifest


def read_own_inputs(workspace: Workspace, config: RunConfig) -> InputsManifest:
    """Return what prepare has laid out for this run.

    Raises:
        RunFailure: WorkspaceInUse if it was laid out for another one.
        FileNotFoundError: prepare has not finished.

    """
    inputs = InputsManifest.read(workspace.manifest)
    if inputs.spec_hash != config.spec_hash:
        text = (
            f"inputs/manifest.json is of run {inputs.run}, not of {config.spec_hash}; the workspace is that of "
            f"{read_owner(workspace) or 'another job'} now. {GUIDANCE[Reason.WORKSPACE_IN_USE].next_step}"
        )
        raise RunFailure(Reason.WORKSPACE_IN_USE, text)
    return inputs
