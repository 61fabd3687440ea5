"""The whole surface towards kopf: what the watches show goes to the runtime, which decides nothing here.

Only `on.event`, `startup`, `cleanup` and `login` are used: anything else makes kopf keep state in annotations or
finalizers of the jobs, and then decide from that instead of from what is there.
"""

from typing import Any

import kopf

from finetune_api.types import GROUP
from finetune_operator.shell.kinds import JOB, POD, WATCHED, Kind
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

    kopf.on.startup(registry=registry)(start)
    kopf.on.cleanup(registry=registry)(stop)
    kopf.on.login(registry=registry, retries=3)(login)
    for kind in WATCHED:
        _watch(registry, runtime, kind)
    return registry


def _watch(registry: kopf.OperatorRegistry, runtime: Runtime, kind: Kind) -> None:
    group, _, version = kind.api_version.rpartition("/")

    async def see(event: Any, **_: Any) -> None:  # noqa: ANN401 - kopf's keyword arguments
        runtime.on_event(kind, event["type"], event["object"])

    kopf.on.event(group, version, kind.plural, registry=registry, id=f"watch-{kind.plural}")(see)


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
    kopf_settings.watching.chunk_size = 500
    for kind in (JOB, POD):  # on the server's side: not every Pod of the cluster
        kopf_settings.watching.label_selectors[kind.plural] = kind.selector
    kopf_settings.queueing.exit_timeout = 10
    kopf_settings.queueing.error_delays = (1, 2, 5, 10, 30, 60)
    kopf_settings.networking.request_timeout = 30
    kopf_settings.networking.connect_timeout = 5
    kopf_settings.process.ultimate_exiting_timeout = 25  # within a pod's grace period
    return kopf_settings
