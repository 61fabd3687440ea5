"""The few calls that the driver itself makes to the API server, as the administrator."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.cluster import addresses
from tests.cluster.certificates import AUTHORITY
from tests.cluster.paths import CERTIFICATES

POLL_SECONDS = 0.1
APPLY = "application/apply-patch+yaml"


def request(
    method: str, path: str, *, body: dict[str, Any] | None = None, content_type: str = "application/json"
) -> Any:  # noqa: ANN401 - JSON, read at the edge
    """Return the decoded answer of the API server (text where it is no JSON).

    Raises:
        OSError: no API server there, or it refused (urllib.error.HTTPError).
    """
    context = ssl.create_default_context(cafile=str(AUTHORITY))
    context.load_cert_chain(CERTIFICATES / "admin.crt", CERTIFICATES / "admin.key")
    call = urllib.request.Request(addresses.API_SERVER + path, method=method)
    call.add_header("Content-Type", content_type)
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(call, data, timeout=5) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else text


def apply(path: str, manifest: dict[str, Any]) -> None:
    """Create or change an object by server-side apply; `path` is the object's own."""
    request("PATCH", f"{path}?fieldManager=test-cluster&force=true", body=manifest, content_type=APPLY)


def is_ready() -> bool:
    """Whether an API server answers, with the certificates that are on disk, that it is ready."""
    try:
        return bool(request("GET", "/readyz") == "ok")
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until `condition` holds.

    Raises:
        TimeoutError: it did not hold in time; says `what` was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"{what}: was not so within {seconds:.0f} s"
            raise TimeoutError(message)
        time.sleep(POLL_SECONDS)
