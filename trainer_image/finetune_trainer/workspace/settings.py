"""Where a trainer container finds its inputs: environment variables with the paths of the workspace as defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api import keys, workspace
from finetune_api.workspace import READ_BUCKET, TRACKING_SECRET, WRITE_BUCKET, Workspace

DEFAULT_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Settings:
    """Wiring of one container. What is trained is stated by RunConfig alone."""

    run_config: Path
    workspace: Workspace
    claim_sources: Path
    published_runs: Path
    read_token_file: Path
    write_token_file: Path
    termination_message: Path
    hub_endpoint: str
    attempt: int
    telemetry_port: int | None = None
    """Where prepare tells how far it is; None: nobody asks."""
    read_bucket: Path = Path(READ_BUCKET)
    """The Secret for sources in buckets, a file for each key."""
    write_bucket: Path = Path(WRITE_BUCKET)
    """The same for publish.bucket or publish.registry."""
    tracking_task: str = ""
    """What track is told, a TrackingTask as JSON."""
    tracking_secret: Path = Path(TRACKING_SECRET)
    """The Secret of the tracker, a file for each key."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings that `environment` states; raises ValueError if attempt or port are no numbers."""
        port = environment.get(keys.ENV_TELEMETRY_PORT)
        return cls(
            run_config=Path(environment.get(keys.ENV_RUN_CONFIG, workspace.RUN_CONFIG)),
            workspace=Workspace(Path(environment.get(keys.ENV_WORKSPACE, workspace.WORKSPACE))),
            claim_sources=Path(environment.get(keys.ENV_CLAIM_SOURCES, workspace.CLAIM_SOURCES)),
            published_runs=Path(environment.get(keys.ENV_PUBLISHED_RUNS, workspace.PUBLISHED_RUNS)),
            read_token_file=Path(environment.get(keys.ENV_READ_TOKEN_FILE, workspace.READ_TOKEN)),
            write_token_file=Path(environment.get(keys.ENV_WRITE_TOKEN_FILE, workspace.WRITE_TOKEN)),
            termination_message=Path(environment.get(keys.ENV_TERMINATION_MESSAGE, workspace.TERMINATION_MESSAGE)),
            hub_endpoint=environment.get("HF_ENDPOINT", DEFAULT_HUB).rstrip("/"),
            attempt=int(environment.get(keys.ENV_ATTEMPT, "0")),
            telemetry_port=None if port is None else int(port),
            read_bucket=Path(environment.get(keys.ENV_READ_BUCKET_FOLDER, READ_BUCKET)),
            write_bucket=Path(environment.get(keys.ENV_WRITE_BUCKET_FOLDER, WRITE_BUCKET)),
            tracking_task=environment.get(keys.ENV_TRACKING_TASK, ""),
            tracking_secret=Path(environment.get(keys.ENV_TRACKING_SECRET_FOLDER, TRACKING_SECRET)),
        )


def read_token(file: Path) -> str | None:
    """Return the token in `file`, None where nothing is mounted or the file is empty."""
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
