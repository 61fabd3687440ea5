"""The whole surface towards kopf: it logs in, starts the operator, and ends it with a signal or a failure.

No resource is handled by kopf. Anything but `startup`, `cleanup` and `login` makes it keep what it lists, or state in
annotations and finalizers of the jobs, and a watch of its own that ends for good after a minute of refusals
(docs/adr/0019 and 0030). FinetuneJobs, Jobs and Pods are listed and watched by `shell/informer.py`.
"""

from typing import Any

import kopf

from finetune_api.types import GROUP
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
    kopf_settings.networking.request_timeout = 30
    kopf_settings.networking.connect_timeout = 5
    kopf_settings.process.ultimate_exiting_timeout = 25  # within a pod's grace period
    return kopf_settings
