"""What the administrator of the cluster chose, as far as decisions depend on it."""

from dataclasses import dataclass, field

from finetune_api.pod_template import PodSecurity, PodTemplates

#: The user of the trainer image.
USER_ID = 65532


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Administrator choices that end up in children."""

    trainer_image: str
    """Image of prepare, train and publish unless spec.image names another."""
    trainer_image_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of trainer containers."""
    trainer_image_pull_secrets: tuple[str, ...] = ()
    """Names of pull Secrets in the jobs' namespaces, comma separated in the environment."""
    hf_endpoint: str = ""
    """Address of the Hub that prepare and publish talk to; empty for the public one."""
    gang_scheduling: str = "Never"
    """Auto: the scheduler places the ranks of a gang all at once, by a PodGroup. Never: one by one."""
    queue_all_roles: bool = False
    """Whether the Jobs of prepare and publish carry the queue of the training Job, too."""
    simulated_accelerator: bool = False
    """True where the cluster offers accelerators that are not there: training runs on CPU."""
    hub_job_cpu_request: str = "250m"
    """CPU request of prepare and publish pods."""
    hub_job_memory_request: str = "1Gi"
    """Memory request of prepare and publish pods."""
    hub_job_memory_limit: str = ""
    """Memory limit of prepare and publish pods; empty for none."""
    pod_template: PodTemplates = field(default_factory=PodTemplates)
    """What is added to the pods of all jobs, below spec.podTemplate; JSON in the environment."""
    pod_security: PodSecurity = field(
        default_factory=lambda: PodSecurity(run_as_user=USER_ID, run_as_group=USER_ID, fs_group=USER_ID)
    )
    """As whom trainer containers run; what is not given is left to the platform. JSON in the environment."""
