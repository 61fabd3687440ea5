"""A client of one repository of a registry: requests of the OCI distribution specification, and what answers mean.

The library gives the session and tokens. Its uploads read a file whole into memory, and it repeats all that fails for
minutes, a wrong password, too; here files are streamed, and the container is what is tried again.
"""

import ipaddress
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from oras.provider import Registry  # type: ignore[import-untyped]
from requests import RequestException, Response
from requests.exceptions import SSLError

from finetune_api.reasons import Reason
from finetune_trainer.publish.registry.login import FIELD, Login
from finetune_trainer.publish.registry.manifest import MEDIA_TYPE, Descriptor
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure

#: Seconds: to connect, or for a piece of a file to be taken; and for an answer, which after a large file is slow.
_TIMEOUT = (60, 600)
#: Whatever may have a tag: what is not ours has to be seen, too.
_ACCEPTED = (
    f"{MEDIA_TYPE}, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_MOST_PAGES = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """Where a model goes."""

    host: str
    """With its port, if one is named."""
    path: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "Artifact":
        """Return what oci://HOST/PATH:TAG names."""
        place, _, tag = text.removeprefix("oci://").rpartition(":")
        host, _, path = place.partition("/")
        return cls(host, path, tag)

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"oci://{self.host}/{self.path}:{self.tag}"

    def at(self, digest: str) -> str:
        """Return the address of one manifest, which never is another."""
        return f"oci://{self.host}/{self.path}@{digest}"

    @property
    def is_loopback(self) -> bool:
        """Return whether the registry is on this machine, where it is asked without TLS."""
        name = self.host.partition(":")[0]
        with suppress(ValueError):
            return ipaddress.ip_address(name).is_loopback
        return name == "localhost"


class Client:
    """Asks for blobs and tags of one repository.

    All fails with TokenRefused where the login will not do, with WriteForbidden where it may not write there, and with
    HubUnavailable where no answer comes, or none that a registry gives.
    """

    def __init__(self, artifact: Artifact, login: Login | None) -> None:
        self.artifact = artifact
        trusted = os.environ.get("SSL_CERT_FILE") or True
        registry = Registry(hostname=artifact.host, insecure=artifact.is_loopback, tls_verify=trusted)
        self._session, self._auth = registry.session, registry.auth
        # Of the requests for tokens, which the library makes, too.
        self._session.request = partial(self._session.request, timeout=_TIMEOUT, verify=trusted)
        self._session.hooks["response"].append(self._check_health)
        self._root = f"{registry.prefix}://{artifact.host}/v2/{artifact.path}"
        if login is not None:
            self._auth.set_basic_auth(login.user, login.password)
        else:
            self._auth.load_configs(registry.get_container(f"{artifact.host}/{artifact.path}"))
        self._authorization: dict[str, str] = {}

    @property
    def _basic(self) -> str | None:
        return getattr(self._auth, "_basic_auth", None)

    def has(self, blob: Descriptor) -> bool:
        """Say whether a blob is there, with its size."""
        answer = self._ask("HEAD", f"blobs/{blob.digest}", {HTTPStatus.OK, HTTPStatus.NOT_FOUND})
        return answer.status_code == HTTPStatus.OK and answer.headers.get("Content-Length") == str(blob.size)

    def read(self, blob: Descriptor) -> bytes:
        """Return a blob, whatever it holds."""
        content: bytes = self._ask("GET", f"blobs/{blob.digest}", {HTTPStatus.OK}).content
        return content

    def store(self, blob: Descriptor, content: Path | bytes) -> None:
        """Send a blob; of a file, no more than a block is in memory."""
        place = self._begin()
        url = f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"
        headers = {"Content-Type": "application/octet-stream"}
        if isinstance(content, bytes) or blob.size == 0:
            self._ask("PUT", url, {HTTPStatus.CREATED}, data=b"" if isinstance(content, Path) else content)
        else:
            with content.open("rb") as file:
                self._ask("PUT", url, {HTTPStatus.CREATED}, data=file, headers=headers)
        _log.info("blob written", extra={"artifact": str(self.artifact), "digest": blob.digest, "bytes": blob.size})

    def manifest(self, reference: str) -> bytes | None:
        """Return the manifest that a tag or a digest names, None if there is none."""
        known = {HTTPStatus.OK, HTTPStatus.NOT_FOUND}
        answer = self._ask("GET", f"manifests/{reference}", known, headers={"Accept": _ACCEPTED})
        content: bytes = answer.content
        return content if answer.status_code == HTTPStatus.OK else None

    def tag(self, tag: str, manifest: bytes) -> None:
        """Let a tag name a manifest."""
        self._ask("PUT", f"manifests/{tag}", {HTTPStatus.CREATED}, data=manifest, headers={"Content-Type": MEDIA_TYPE})
        _log.info("tag written", extra={"artifact": str(self.artifact), "tag": tag})

    def tags(self) -> list[str]:
        """Return the tags of the repository."""
        found, url = list[str](), f"{self._root}/tags/list"
        for _ in range(_MOST_PAGES):
            answer = self._ask("GET", url, {HTTPStatus.OK, HTTPStatus.NOT_FOUND})
            if answer.status_code == HTTPStatus.NOT_FOUND:
                break
            try:
                found += map(str, answer.json()["tags"] or ())
            except (ValueError, KeyError, TypeError) as error:
                raise self.nonsense("what should be its tags") from error
            if (following := answer.links.get("next", {}).get("url")) is None:
                break
            url = urljoin(url, following)
        return found

    def check_writing(self) -> None:
        """Fail unless blobs may be written: an upload is begun, and given up."""
        begun = self._begin()
        with suppress(RunFailure):  # it ends by itself, too
            self._ask("DELETE", begun, {HTTPStatus.NO_CONTENT})

    def nonsense(self, what: str) -> RunFailure:
        """Return that an answer is none of a registry."""
        message = f"{self._place}: {self.artifact.host} answers {what} with something else"
        return RunFailure(Reason.HUB_UNAVAILABLE, f"{message}; is it an OCI registry? Look at its logs")

    @property
    def _place(self) -> str:
        return f"publish.registry: {self.artifact}"

    def _begin(self) -> str:
        """Return where a blob may be sent to."""
        answer = self._ask("POST", "blobs/uploads/", {HTTPStatus.ACCEPTED}, data=b"")
        if not (place := answer.headers.get("Location")):
            raise self.nonsense("where to send a file to")
        return urljoin(f"{self._root}/blobs/uploads/", place)

    def _ask(
        self,
        method: str,
        path: str,
        known: Collection[int],
        *,
        data: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return an answer of a status that is known; `path` is below the repository, or a whole address."""
        url = urljoin(f"{self._root}/", path)
        try:
            answer = self._send(method, url, data, headers or {})
        except SSLError as error:
            because = f"the certificate of {self.artifact.host} is not trusted ({one_line(error)})"
            hint = "name the file of the authority that signed it in SSL_CERT_FILE, by spec.podTemplate or the chart"
            raise RunFailure(Reason.HUB_UNAVAILABLE, f"{self._place}: {because}; {hint}") from error
        except RequestException as error:
            because = f"{self.artifact.host} did not answer ({one_line(error)}); wait, or correct its name"
            raise RunFailure(Reason.HUB_UNAVAILABLE, f"{self._place}: {because}") from error
        if answer.status_code not in known:
            raise self._refusal(answer, method)
        return answer

    def _send(self, method: str, url: str, data: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Response:
        # Some registries have files sent to storage elsewhere, which is not to see the login.
        is_own = urlsplit(url).netloc == self.artifact.host
        send: Callable[..., Response] = partial(self._session.request, method, url, data=data)
        answer = send(headers={**headers, **(self._authorization if is_own else {})})
        if answer.status_code != HTTPStatus.UNAUTHORIZED or not is_own or not self._authorize(answer):
            return answer
        if data is not None and not isinstance(data, bytes):
            data.seek(0)
        return send(headers={**headers, **self._authorization})

    def _authorize(self, challenge: Response) -> bool:
        """Take what a registry asks for: the login itself, or a token for this very thing."""
        scheme = challenge.headers.get("Www-Authenticate", "").partition(" ")[0].lower()
        if scheme == "basic" and self._basic:
            self._authorization = {"Authorization": f"Basic {self._basic}"}
            return True
        if scheme == "bearer":
            self._authorization, changed = self._auth.authenticate_request(challenge, {}, refresh=True)
            return bool(changed)
        return False

    def _check_health(self, answer: Response, **_: Any) -> None:  # noqa: ANN401 - as the library calls it
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in _TRY_AGAIN:
            because = f"{urlsplit(answer.url).netloc} did not answer as it should ({_told(answer)}); wait"
            raise RunFailure(Reason.HUB_UNAVAILABLE, f"{self._place}: {because}, or look at its logs")

    def _refusal(self, answer: Response, method: str) -> RunFailure:
        told, host = _told(answer), self.artifact.host
        is_refused = answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        if is_refused and not self._basic:
            because = (
                f"{host} asks for a login ({told}); name a Secret of type kubernetes.io/dockerconfigjson in {FIELD}"
            )
            return RunFailure(Reason.TOKEN_REFUSED, f"{self._place}: {because}")
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            because = f"{host} does not accept the login ({told}); put a valid one into the Secret of {FIELD}"
            return RunFailure(Reason.TOKEN_REFUSED, f"{self._place}: {because}")
        if answer.status_code == HTTPStatus.FORBIDDEN:
            because = f"this login may not do that ({told}); give it the right to, or name another in {FIELD}"
        elif answer.status_code == HTTPStatus.NOT_FOUND:
            because = f"{host} has no {self.artifact.path} and makes none ({told}); make it there, or correct the path"
        elif answer.status_code >= HTTPStatus.BAD_REQUEST:
            because = f"{host} refuses it ({told}); name another tag or path, or look at its settings"
        else:
            return self.nonsense(f"{method} ({told})")
        return RunFailure(Reason.WRITE_FORBIDDEN, f"{self._place}: {because}")


def _told(answer: Response) -> str:
    """Return an answer in a few words."""
    try:
        codes = [str(error["code"]) for error in json.loads(answer.content)["errors"]]
    except (ValueError, KeyError, TypeError):
        codes = []
    return " ".join([str(answer.status_code), *(code for code in codes[:1] if re.fullmatch(r"[A-Z_]{1,40}", code))])
