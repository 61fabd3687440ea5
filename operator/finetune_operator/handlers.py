"""The whole surface towards kopf: what its watch of FinetuneJobs shows goes to the informer, which decides nothing.

Only `on.event`, `startup`, `cleanup` and `login` are used: anything else makes kopf keep state in annotations or
finalizers of the jobs, and then decide from that instead of from what is there. Jobs and Pods are watched by
`shell/informer.py`: kopf holds every manifest that it lists for seconds, all at once (docs/adr/0019).
"""

from typing import Any

import kopf

from finetune_api.types import GROUP, PLURAL, VERSION
from finetune_operator.shell.cluster import PAGE_SIZE
from finetune_operator.shell.kinds import FINETUNE_JOB
from finetune_operator.shell.runtime import Runtime


def build_registry(runtime: Runtime) -> kopf.OperatorRegistry:
    """Return the handlers, bound to the runtime."""
    registry = kopf.OperatorRegistry()

    async def start(**_: Any) -> None:  # noqa: ANN401 - kopf's keyword arguments
        await runtime.start()

    async def stop(**_: Any) -> None:  # noqa: ANN401 - kopf's keyword arguments
        await runtime.stop()

    async def login(**kwargs: Any) -> Any:  # noqa: ANN401 - kopf's keyword arguments
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    # By default kopf would start again and again within the same process, on what the failed start has left.
    kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(start)
    kopf.on.cleanup(registry=registry)(stop)
    kopf.on.login(registry=registry, retries=3)(login)

    async def see(event: Any, **_: Any) -> None:  # noqa: ANN401 - kopf's keyword arguments
        runtime.informer.on_event(FINETUNE_JOB, event["type"], event["object"])

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(see)
    return registry


def build_kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings; each differs from the default for a reason that its comment names."""
    kopf_settings = kopf.OperatorSettings()
    # With the default name kopf would strip the finalizers of other kopf operators, even with on.event alone.
    kopf_settings.persistence.finalizer = f"{GROUP}/unused"
    kopf_settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    kopf_settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, v1=False)
    kopf_settings.peering.standalone = True  # no pause by a stray peering object
    kopf_settings.scanning.disabled = True  # no rights on CRDs and namespaces; the CRD is there before the operator
    kopf_settings.watching.server_timeout = 300
    kopf_settings.watching.client_timeout = 330
    kopf_settings.watching.connect_timeout = 10
    # kopf keeps a manifest until its object has been quiet for so long; with the defaults, all that it lists at once.
    kopf_settings.watching.chunk_size = PAGE_SIZE
    kopf_settings.queueing.idle_timeout = 0.2
    kopf_settings.queueing.exit_timeout = 10
    kopf_settings.queueing.error_delays = (1, 2, 5, 10, 30, 60)
    kopf_settings.networking.request_timeout = 30
    kopf_settings.networking.connect_timeout = 5
    kopf_settings.process.ultimate_exiting_timeout = 25  # within a pod's grace period
    return kopf_settings
