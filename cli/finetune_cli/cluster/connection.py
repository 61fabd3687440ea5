"""The API server, as a kubeconfig or a pod's ServiceAccount names it. Every error comes out as RefusalError.

Requests are written out, and answers stay JSON: the classes of the Kubernetes client take a second to load.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from finetune_api import keys
from finetune_api.contract import ExitCode
from finetune_api.types import GROUP, PLURAL, VERSION
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import Manifest

MANAGER = "finetune"
MERGE = "application/merge-patch+json"
DEFAULT_NAMESPACE = "default"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_CONNECT_SECONDS, _ANSWER_SECONDS = 5, 30
#: A watch is begun anew so often, and a log that is followed may be silent for so long.
_WATCH_SECONDS, _FOLLOW_SECONDS = 240, 24 * 3600
#: A watch that breaks is begun anew so many times in a row, after so many seconds each.
_TRIES, _PAUSE_SECONDS = 30, 2.0
_OK = range(200, 300)
_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _TOO_MANY, _SERVER_ERROR = 400, 401, 403, 404, 410, 429, 500
#: How the log of a container that has not begun is refused.
_NOT_BEGUN = "waiting to start"
#: What it is to read what no API server has written.
_STRANGE = (ValueError, LookupError, TypeError)
#: How the client tells with which status an exec was refused.
_HANDSHAKE = re.compile(r"Handshake status (\d+) (.*?) -\+-\+-")
#: How a name is refused that another object has.
_TAKEN = "already exists"
_NO_CLUSTER = "name a cluster in KUBECONFIG or with --context"
#: By the kind of what is not there, which is the API server's first word.
_WHERE_TO_LOOK = {
    PLURAL: "; `finetune list -A` shows which are there",
    "namespaces": "; name one that is there with -n, or create it",
}
_INSTALL = "install the operator there, or name another cluster with --context"


class StatusError(Exception):
    """The API server said no."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Manifest | None = None
    content: str = "application/json"


class Cluster:
    """One API server, and the namespace of jobs that name none."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    def get(self, name: str) -> Manifest:
        """Return a job."""
        with self._told(f"read {self._title(name)}"):
            found: Manifest = self._ask(Call("GET", self._path(name)))
        return found

    def jobs(self, *, everywhere: bool) -> list[Manifest]:
        """Return all jobs of the namespace, or of the cluster."""
        path = f"/apis/{GROUP}/{VERSION}/{PLURAL}" if everywhere else self._path()
        with self._told("list jobs of all namespaces" if everywhere else f"list jobs of namespace {self.namespace}"):
            found: list[Manifest] = self._ask(Call("GET", path))["items"]
        return found

    def create(self, manifest: Manifest) -> Manifest:
        """Create a job and return it as it is stored; unknown fields are refused."""
        query = (("fieldManager", MANAGER), ("fieldValidation", "Strict"))
        title = self._title(manifest["metadata"].get("name") or manifest["metadata"]["generateName"])
        with self._told(f"create {title}"):
            created: Manifest = self._ask(Call("POST", self._path(), query, manifest))
        return created

    def change(self, name: str, **spec: object) -> Manifest:
        """Set fields of a job's spec and return it as it is stored then."""
        with self._told(f"change {self._title(name)}"):
            call = Call("PATCH", self._path(name), (("fieldManager", MANAGER),), {"spec": spec}, MERGE)
            changed: Manifest = self._ask(call)
        return changed

    def watch(self, name: str, *, pause: Callable[[float], None] = time.sleep) -> Iterator[Manifest]:
        """Yield a job as it is and after each change, for ever; fails if it is not there, or not any more.

        A training takes days, in which connections break and API servers are restarted: it is asked again for a while.
        """
        uid, tries = self.get(name)["metadata"]["uid"], _TRIES
        while True:
            try:
                for manifest in self._changes(name, uid):
                    tries = _TRIES
                    yield manifest
            except RefusalError as refusal:
                tries -= 1
                if refusal.code != ExitCode.CLUSTER_UNAVAILABLE or not tries:
                    raise
                pause(_PAUSE_SECONDS)

    def _changes(self, name: str, uid: str) -> Iterator[Manifest]:
        """Yield a job as it is and after each change, for as long as one connection lasts."""
        if self.get(name)["metadata"]["uid"] != uid:  # a watch of what is not there waits for ever
            raise RefusalError(f"{self._title(name)} was deleted, and another has its name", ExitCode.NOT_FOUND)
        query = (
            ("fieldSelector", f"metadata.name={name}"),
            ("watch", "true"),
            ("timeoutSeconds", str(_WATCH_SECONDS)),
        )
        with self._told(f"watch {self._title(name)}"):
            for line in self._lines(Call("GET", self._path(), query), seconds=_WATCH_SECONDS + _ANSWER_SECONDS):
                event = json.loads(line)
                if event["type"] == "DELETED":
                    raise RefusalError(f"{self._title(name)} was deleted", ExitCode.NOT_FOUND)
                if event["type"] == "ERROR":
                    raise StatusError(event["object"]["code"], event["object"]["message"])
                yield event["object"]

    def pods(self, selector: str) -> list[Manifest]:
        """Return the pods that have these labels."""
        return self.objects("/api/v1", "pods", labelSelector=selector)

    def objects(self, api: str, plural: str, **query: str) -> list[Manifest]:
        """Return the objects of a kind that is served below `api`."""
        path = f"{api}/namespaces/{self.namespace}/{plural}"
        with self._told(f"list {plural} of namespace {self.namespace}"):
            found: list[Manifest] = self._ask(Call("GET", path, tuple(query.items())))["items"]
        return found

    def log(self, pod: str, container: str, *, follow: bool = False, tail: int | None = None) -> Iterator[str]:
        """Yield the lines of a container's log, all of them or the last ones."""
        path = f"{self._pods(pod)}/log"
        last = () if tail is None else (("tailLines", str(tail)),)
        query = (("container", container), ("follow", str(follow).lower()), *last)
        with self._told(f"read the log of pod {self._title(pod)}"):
            yield from self._lines(Call("GET", path, query), seconds=_FOLLOW_SECONDS if follow else _ANSWER_SECONDS)

    def read_file(self, path: str, pods: Iterable[Manifest]) -> str:
        """Return a file as the first of these pods that runs has it; empty if none runs, or may be asked."""
        running = next((pod for pod in pods if pod["status"].get("phase") == "Running"), None)
        if running is None:
            return ""
        metadata = running["metadata"]
        try:
            printed = self.execute(metadata["name"], metadata["labels"][keys.LABEL_ROLE], ["cat", path])
        except RefusalError:
            return ""
        return printed.decode(errors="replace")

    def execute(self, pod: str, container: str, command: list[str]) -> bytes:
        """Return what a command prints in a container; NOT_FOUND if it fails."""
        from kubernetes.client.api.core_v1_api import CoreV1Api  # noqa: PLC0415 - takes a second, which few need
        from kubernetes.stream import stream  # noqa: PLC0415 - as above

        wish = f"run {command[0]} in pod {self._title(pod)}"
        with self._told(wish):
            try:
                answer = stream(
                    CoreV1Api(self._api).connect_get_namespaced_pod_exec,
                    pod,
                    self.namespace,
                    command=command,
                    container=container,
                    stdout=True,
                    stderr=True,
                    binary=True,
                    _preload_content=False,
                )
            except ApiException as error:
                if (found := _HANDSHAKE.search(str(error))) is None:
                    raise
                raise StatusError(int(found[1]), f"create of pods/exec: {found[2]}") from error
            try:
                answer.run_forever(timeout=_ANSWER_SECONDS)
                if answer.is_open():
                    raise TimeoutError(f"{command[0]} did not end within {_ANSWER_SECONDS} s")
                printed, said, code = bytes(answer.read_stdout()), answer.read_stderr(), answer.returncode
            finally:
                answer.sock.shutdown()  # its close() leaves one open that the other side has closed
        if code != 0:
            raise RefusalError(f"cannot {wish}: {_words(said.decode(errors='replace'))}", ExitCode.NOT_FOUND)
        return printed

    def create_pod(self, manifest: Manifest) -> Manifest:
        """Create a pod and return it as it is stored."""
        with self._told(f"create a pod in namespace {self.namespace}"):
            created: Manifest = self._ask(Call("POST", self._pods(), (("fieldManager", MANAGER),), manifest))
        return created

    def pod(self, name: str) -> Manifest:
        """Return a pod."""
        with self._told(f"read pod {self._title(name)}"):
            found: Manifest = self._ask(Call("GET", self._pods(name)))
        return found

    def delete_pod(self, name: str) -> None:
        """Delete a pod."""
        with self._told(f"delete pod {self._title(name)}"):
            self._ask(Call("DELETE", self._pods(name)))

    def at(self, namespace: str) -> "Cluster":
        """Return the same cluster with another namespace."""
        return Cluster(self._api, namespace)

    def _path(self, name: str = "") -> str:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}"
        return f"{path}/{name}" if name else path

    def _pods(self, name: str = "") -> str:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return f"{path}/{name}" if name else path

    def _title(self, name: str) -> str:
        return f"{self.namespace}/{name}"

    def _ask(self, call: Call) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self._send(call, seconds=_ANSWER_SECONDS).data)

    def _lines(self, call: Call, *, seconds: float) -> Iterator[str]:
        """Yield the lines of an answer as they come."""
        response, rest = self._send(call, seconds=seconds), b""
        try:
            for chunk in response.stream(decode_content=False):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        finally:
            response.close()
        if rest:
            yield rest.decode(errors="replace")

    def _send(self, call: Call, *, seconds: float) -> BaseHTTPResponse:
        headers = {"Accept": "application/json", **({"Content-Type": call.content} if call.body else {})}
        method, url, headers, body, _ = self._api.param_serialize(
            call.method,
            call.path,
            query_params=list(call.query),
            header_params=headers,
            body=call.body,
            auth_settings=["BearerToken"],
        )
        answer = self._api.call_api(method, url, headers, body, _request_timeout=(_CONNECT_SECONDS, seconds))
        response: BaseHTTPResponse = answer.response
        if response.status in _OK:
            return response
        raise StatusError(response.status, _message(response))

    @contextlib.contextmanager
    def _told(self, wish: str) -> Iterator[None]:
        """Turn whatever goes wrong inside into what is told of a wish, such as `read search/pages`."""
        try:
            yield
        except StatusError as error:
            raise self._refusal(error, wish) from error
        except (HTTPError, ApiException, OSError) as error:
            host = self._api.configuration.host
            text = f"cannot {wish}: {host} does not answer ({_cause(error)}); look whether it is up, or {_NO_CLUSTER}"
            raise RefusalError(text, ExitCode.CLUSTER_UNAVAILABLE) from error
        except _STRANGE as error:
            host = self._api.configuration.host
            text = f"cannot {wish}: {host} does not answer as an API server does ({_words(error)}); {_NO_CLUSTER}"
            raise RefusalError(text, ExitCode.CLUSTER_UNAVAILABLE) from error

    def _refusal(self, error: StatusError, wish: str) -> RefusalError:
        if error.code == _UNAUTHORIZED:
            text = f"cannot {wish}: {self._api.configuration.host} does not know you; log in again, or {_NO_CLUSTER}"
            return RefusalError(text, ExitCode.ACCESS_REFUSED)
        if error.code == _FORBIDDEN:
            text = f"cannot {wish}: {error}; ask for this right, or for what is in the way of it to be changed"
            return RefusalError(text, ExitCode.ACCESS_REFUSED)
        if error.code == _NOT_FOUND:
            return self._missing(error, wish)
        if error.code == _BAD_REQUEST and _NOT_BEGUN in str(error):
            return RefusalError(f"cannot {wish}: {error}; try again once it has begun", ExitCode.NOT_FOUND)
        if error.code in (_GONE, _TOO_MANY) or error.code >= _SERVER_ERROR:
            return RefusalError(f"cannot {wish}: {error}; try again", ExitCode.CLUSTER_UNAVAILABLE)
        hint = "; write another metadata.name, or delete that one first" if str(error).endswith(_TAKEN) else ""
        return RefusalError(f"cannot {wish}: {error}{hint}", ExitCode.BAD_SPEC)

    def _missing(self, error: StatusError, wish: str) -> RefusalError:
        """Return what is told where something is not there: the object, its kind, or this version of it."""
        served = self._served_versions()
        if VERSION in served:
            hint = _WHERE_TO_LOOK.get(str(error).partition(" ")[0].partition(".")[0], "")
            return RefusalError(f"cannot {wish}: {error}{hint}", ExitCode.NOT_FOUND)
        if served:
            text = f"it serves {GROUP}/{', '.join(served)}, not {VERSION}; install the finetune of its release"
        else:
            text = f"it has no FinetuneJobs; {_INSTALL}"
        return RefusalError(f"cannot {wish} on {self._api.configuration.host}: {text}", ExitCode.CLUSTER_UNAVAILABLE)

    def _served_versions(self) -> list[str]:
        """Return the versions of our group, none if there is no such group; ours if it may, or can, not be asked."""
        try:
            return [one["version"] for one in self._ask(Call("GET", f"/apis/{GROUP}"))["versions"]]
        except (StatusError, HTTPError, OSError, *_STRANGE) as error:
            return [] if isinstance(error, StatusError) and error.code == _NOT_FOUND else [VERSION]


def connect(*, context: str | None, namespace: str | None) -> Cluster:
    """Return the cluster of a context of the kubeconfig, or the one that this pod runs in if there is no kubeconfig."""
    configuration = Configuration()
    configuration.retries = False
    file = os.environ.get("KUBECONFIG") or "~/.kube/config"
    is_there = _exists(file)
    if not is_there and (context is not None or not _OWN_NAMESPACE.exists()):
        text = f"there is no kubeconfig {file}; name one that is there in KUBECONFIG"
        raise RefusalError(text, ExitCode.CLUSTER_UNAVAILABLE)
    try:
        if not is_there:
            config.load_incluster_config(client_configuration=configuration)
            own = _OWN_NAMESPACE.read_text().strip()
        else:
            contexts, active = config.list_kube_config_contexts(file)
            names = [one["name"] for one in contexts]
            if context is not None and context not in names:
                text = f"kubeconfig {file} has no context {context}; it has {', '.join(names)}"
                raise RefusalError(text, ExitCode.CLUSTER_UNAVAILABLE)
            config.load_kube_config(file, context=context, client_configuration=configuration)
            chosen = active if context is None else contexts[names.index(context)]
            own = chosen["context"].get("namespace") or DEFAULT_NAMESPACE
    except (config.ConfigException, yaml.YAMLError, OSError) as error:
        text = f"kubeconfig {file}: {_words(error)}; {_NO_CLUSTER}"
        raise RefusalError(text, ExitCode.CLUSTER_UNAVAILABLE) from error
    return Cluster(ApiClient(configuration), namespace or own)


def _exists(files: str) -> bool:
    return any(Path(file).expanduser().exists() for file in files.split(os.pathsep))


def _message(response: BaseHTTPResponse) -> str:
    """Return the API server's words; those of a proxy before it may be anything."""
    text = response.data.decode(errors="replace")
    with contextlib.suppress(*_STRANGE):
        text = json.loads(text)["message"]
    return _words(text) or f"HTTP status {response.status}"


def _cause(error: BaseException) -> str:
    """Return what the system says of a connection that failed, without the names of the library's classes."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.strerror:
            return _words(at.strerror)
        at = at.__cause__ or at.__context__
    return _words(error)


def _words(error: object) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split())
