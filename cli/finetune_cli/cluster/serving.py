"""`finetune serve`: a manifest by which a server answers with what a job has published."""

import os
import sys
from argparse import Namespace

import yaml

from finetune_api.contract import ExitCode
from finetune_api.types import GROUP
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import StoredJob, read_stored
from finetune_cli.cluster.verbs import cluster_of
from finetune_cli.models.described import describe
from finetune_cli.models.manifests import KSERVE, TOKEN_KEY, TOKEN_SECRET, container, deployment, inference_service
from finetune_cli.models.refusing import ModelError
from finetune_cli.models.servers import choose, notes


def serve(given: Namespace) -> ExitCode:
    """Print a manifest of the server that loads the model, pinned to its commit."""
    job = read_stored(cluster_of(given).get(given.name))
    published = job.status.published
    if published is None or published.commit is None:
        other = f"watch {job.name}` waits for that" if not job.is_finished else "download` gets it off its volume"
        text = f"{job.title} has published no model (it is {job.phase}); `finetune {other}"
        raise RefusalError(text, ExitCode.NOT_FOUND)
    if published.is_artifact:
        reference = (published.url or "").removeprefix("oci://")
        text = f"{job.title}: its model is an OCI artifact, and what is served here is a commit of the Hub"
        raise RefusalError(f"{text}; `oras pull {reference}` writes its folder, which servers load", ExitCode.USAGE)
    if not published.is_on_hub:
        text = f"{job.title}: its model is in a bucket, {published.url}, and what is served here is a commit of the Hub"
        raise RefusalError(f"{text}; name that folder as storageUri of a KServe InferenceService", ExitCode.USAGE)
    try:
        model = describe(published.repository, published.commit)
        server = choose(model, repository=published.repository, commit=published.commit)
    except ModelError as error:
        raise RefusalError(f"{job.title}: {error}", error.code) from error
    secret = _secret(job)
    own = container(server, num_bytes=model.num_bytes, secret=secret, hub=os.environ.get("HF_ENDPOINT"))
    build = inference_service if given.output == KSERVE else deployment
    annotations = {f"{GROUP}/job": job.title, f"{GROUP}/commit": published.commit}
    name = given.server_name or job.name.replace(".", "-")
    manifests = build(name, own, namespace=job.namespace, annotations=annotations)
    sys.stdout.write(f"# {published.repository} at {published.commit}, served by {server.name}.\n")
    sys.stdout.write(yaml.safe_dump_all(manifests, sort_keys=False))
    for note in [*_about(secret, published.repository), *notes(model)]:
        sys.stderr.write(f"Note: {note}\n")
    return ExitCode.SUCCESS


def _secret(job: StoredJob) -> tuple[str, str] | None:
    """Return the Secret with a token that may read the model: what the job reads with; none for what all may read."""
    if not job.part("publish").get("private", True):
        return None
    token = job.part("hub").get("tokenSecret") or {"name": TOKEN_SECRET}
    return token["name"], token.get("key", TOKEN_KEY)


def _about(secret: tuple[str, str] | None, repository: str) -> list[str]:
    if secret is None:
        return []
    name, key = secret
    return [f"{repository} is private: Secret {name} must have a token under {key} that may read it, and no more"]
