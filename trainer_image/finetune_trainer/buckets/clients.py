"""The one place where a client of a bucket is made: by the mounted Secret, else by the container's environment.

A node's own identity is never asked for: what it may read is not the job's to have.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from finetune_api.reasons import Reason
from finetune_api.sources import BucketSource
from finetune_trainer.buckets.secrets import proves_who_asks, read_settings
from finetune_trainer.workspace.failures import RunFailure

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

#: The client of each service, what the names of its settings begin with, and those that say where its server is.
_SERVICES: Mapping[str, tuple[type[Any], str, tuple[str, ...]]] = {
    "s3": (S3Store, "AWS_", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")),
    "gs": (GCSStore, "GOOGLE_", ("GOOGLE_BASE_URL",)),
    "az": (AzureStore, "AZURE_", ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")),
}
_PREFIXES = tuple(prefix for _, prefix, _ in _SERVICES.values())
#: A try of the container is repeated for hours; one request is not. Its time counts while bytes come or go, so that an
#: object that takes long to send is not lost by one reset.
_RETRIES: "RetryConfig" = {"max_retries": 5, "retry_timeout": timedelta(days=1)}
SILENCE = timedelta(minutes=1)
#: A server says nothing while it is sent a part of a large object, of which there are several at once.
SILENCE_OF_SENDING = timedelta(minutes=10)


@dataclass(frozen=True)
class Bucket:
    """A client of one bucket."""

    store: ObjectStore
    source: BucketSource
    endpoint: str
    """The server, as messages name it."""
    field: str
    """What names the Secret with its settings."""
    is_anonymous: bool


def connect(source: BucketSource, *, secret: Path, field: str, silence: timedelta = SILENCE) -> Bucket:
    """Return a client of the bucket of `source`; each file in the folder `secret` is a setting.

    A server that says nothing for `silence`, be it while it is sent something, is asked again. Fails with TokenRefused
    where settings cannot be meant; `field` names the Secret.
    """
    client, prefix, endpoints = _SERVICES[source.scheme]
    held = read_settings(secret)
    if held and not any(name.startswith(_PREFIXES) for name in held):
        message = f"{field}: the Secret has {', '.join(sorted(held))}, of which nothing is known"
        raise RunFailure(Reason.TOKEN_REFUSED, f"{message}; write for example AWS_ACCESS_KEY_ID, see docs/buckets.md")
    given = {name: value for name, value in held.items() if name.startswith(prefix)}
    known = {**{name: value for name, value in os.environ.items() if name.startswith(prefix)}, **given}
    is_anonymous = not any(map(proves_who_asks, known))
    if is_anonymous:
        given.setdefault(f"{prefix}SKIP_SIGNATURE", known.get(f"{prefix}SKIP_SIGNATURE", "true"))
    endpoint = next((known[name] for name in endpoints if known.get(name)), "")
    options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": silence,
        "timeout": timedelta(days=1),  # of a whole object, which takes as long as it takes while bytes come
    }
    config = {name.lower(): value for name, value in given.items()}
    try:
        store = client(source.bucket, config=config, client_options=options, retry_config=_RETRIES)
    except (BaseError, ValueError) as error:
        words = str(error).partition("\n")[0]
        raise RunFailure(
            Reason.TOKEN_REFUSED, f"{field}: {source} cannot be asked with what it holds: {words}"
        ) from error
    return Bucket(store, source, endpoint or f"the server of {source.scheme}://", field, is_anonymous)
