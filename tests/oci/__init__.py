"""A real OCI registry for tests, and what may stand before it."""

from tests.oci.front import Front, running_front
from tests.oci.running import RunningRegistry, running_registry

__all__ = ["Front", "RunningRegistry", "running_front", "running_registry"]
