"""What the administrator of the cluster chose, as far as decisions depend on it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Administrator choices that end up in children or pace the status."""

    trainer_image: str
    """Image of prepare, train and publish unless spec.image names another."""
    image_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of trainer containers."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of pull Secrets in the job's namespace."""
    hub_endpoint: str = ""
    """Address of the Hub for prepare and publish; empty for the public one."""
    simulated_accelerator: bool = False
    """True where accelerators are offered that are not there."""
    hub_job_cpu_request: str = "250m"
    """CPU request of prepare and publish."""
    hub_job_memory_request: str = "1Gi"
    """Memory request of prepare and publish."""
    hub_job_memory_limit: str = ""
    """Memory limit of prepare and publish; empty for none."""
    progress_status_seconds: float = 10.0
    """Least time between two writes of progress into one status."""
