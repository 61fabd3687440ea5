"""Clients of buckets: what they are told, and what nobody else is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import AzureStore, GCSStore, S3Store

from finetune_api.reasons import Reason
from finetune_api.sources import BucketSource, parse_source
from finetune_trainer.buckets import clients
from finetune_trainer.buckets.clients import Bucket, connect
from finetune_trainer.buckets.errors import as_failure, told_as_failures
from finetune_trainer.buckets.secrets import secret_values
from finetune_trainer.buckets.tags import still
from finetune_trainer.workspace.failures import RunFailure
from tests.private_ca import certify
from tests.s3 import running_s3
from tests.trainer.conftest import write_secret
from tests.trainer.image_host import running_proxy

FIELD = "spec.buckets.secretName"


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def client_of(source: str, secret: Path) -> Bucket:
    parsed = parse_source(source)
    assert isinstance(parsed, BucketSource)
    return connect(parsed, secret=secret, field=FIELD)


def settings_of(bucket: Bucket) -> dict[str, object]:
    assert isinstance(bucket.store, S3Store | GCSStore | AzureStore)
    return dict(bucket.store.config)


def failure_of(source: str, secret: Path) -> tuple[Reason, str]:
    """Return how listing a bucket fails."""
    bucket = client_of(source, secret)
    with (
        pytest.raises(RunFailure) as failed,
        told_as_failures("reading", bucket, refused=Reason.MODEL_NOT_FOUND),
    ):
        obstore.list(bucket.store).collect()
    return failed.value.reason, failed.value.message


@pytest.mark.parametrize(
    ("source", "kind", "settings"),
    [
        ("s3://data/x", S3Store, {"bucket": "data", "skip_signature": True}),
        ("gs://data/x", GCSStore, {"bucket": "data", "skip_signature": True}),
        ("az://data/x", AzureStore, {"container_name": "data", "account_name": "company", "skip_signature": True}),
    ],
)
def test_without_keys_requests_are_anonymous(
    source: str, kind: type, settings: dict[str, object], tmp_path: Path
) -> None:
    write_secret(tmp_path, {"AZURE_STORAGE_ACCOUNT_NAME": "company"})

    bucket = client_of(source, tmp_path)

    assert isinstance(bucket.store, kind)
    assert bucket.is_anonymous
    assert {name: str(value).lower() for name, value in settings_of(bucket).items()} == {
        name: str(value).lower() for name, value in settings.items()
    }


def test_the_secret_goes_before_the_environment_and_has_settings_for_several_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "of the pod")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://of.the.pod")
    keys = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "mine"}
    write_secret(tmp_path, {**keys, "AWS_REGION": "eu-west-1", "GOOGLE_BEARER_TOKEN": "other"})

    bucket = client_of("s3://data", tmp_path)

    assert not bucket.is_anonymous
    assert bucket.endpoint == "https://of.the.pod"
    assert settings_of(bucket) == {
        "bucket": "data",
        "access_key_id": "me",
        "secret_access_key": "mine",
        "region": "eu-west-1",
    }


def test_a_pod_with_an_identity_of_its_own_is_not_anonymous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")

    assert not client_of("s3://data", tmp_path / "nothing").is_anonymous


def test_a_server_behind_a_proxy_with_a_certificate_of_the_company_is_reached_as_the_environment_says(
    s3_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certified = certify(tmp_path, ["s3.company.example"])
    asked: list[str] = []
    (tmp_path / "s3").mkdir()
    tls = ("--cert", str(certified.certificate), "--key", str(certified.key))
    with running_s3(tmp_path / "s3", arguments=tls) as s3, running_proxy(asked, port=s3.port) as proxy:
        (s3.folder / "data").mkdir()
        (s3.folder / "data" / "file").touch()
        write_secret(tmp_path / "secret", s3.settings(AWS_ENDPOINT_URL="https://s3.company.example"))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")

        distrusted = failure_of("s3://data", tmp_path / "secret")
        monkeypatch.setenv("SSL_CERT_FILE", str(certified.authority))
        found = obstore.list(client_of("s3://data", tmp_path / "secret").store).collect()
        monkeypatch.setenv("NO_PROXY", ".example")
        not_found = failure_of("s3://data", tmp_path / "secret")

    assert [meta["path"] for meta in found] == ["file"]
    assert set(asked) == {"CONNECT s3.company.example:443 None"}
    assert distrusted == (
        Reason.HUB_UNAVAILABLE,
        "reading: the certificate of https://s3.company.example is not trusted (UnknownIssuer); name the file of the "
        "authority that signed it in SSL_CERT_FILE, by spec.podTemplate or the chart",
    )
    assert not_found[0] is Reason.HUB_UNAVAILABLE
    assert "did not answer as it should (failed to lookup address information" in not_found[1]


def test_a_setting_that_cannot_be_meant_is_told(tmp_path: Path) -> None:
    write_secret(tmp_path, {"AWS_ACCESS_KEY": "me"})

    with pytest.raises(RunFailure) as refused:
        client_of("s3://data", tmp_path)

    assert refused.value.reason is Reason.TOKEN_REFUSED
    assert refused.value.message.startswith(f"{FIELD}: s3://data cannot be asked with what it holds: ")
    assert "aws_access_key" in refused.value.message
    assert "me" not in refused.value.message.split()


def test_a_secret_with_names_of_its_own_is_told(tmp_path: Path) -> None:
    write_secret(tmp_path, {"secretkey": "mine", "accesskey": "me"})

    with pytest.raises(RunFailure) as refused:
        client_of("s3://data", tmp_path)

    assert (refused.value.reason, refused.value.message) == (
        Reason.TOKEN_REFUSED,
        f"{FIELD}: the Secret has accesskey, secretkey, of which nothing is known; write for example "
        "AWS_ACCESS_KEY_ID, see docs/buckets.md",
    )


def test_what_proves_who_asks_is_in_no_log_and_words_of_every_message_stay(tmp_path: Path) -> None:
    proofs = {
        "AWS_SECRET_ACCESS_KEY": "mine-alone",
        "AWS_SESSION_TOKEN": "a-session",
        "AWS_SSE_CUSTOMER_KEY_BASE64": "encrypts",
    }
    words = {
        "AWS_ACCESS_KEY_ID": "minio-of-the-company",
        "AWS_REGION": "eu-west-1",
        "AWS_SSE_BUCKET_KEY_ENABLED": "true",
        "AWS_SSE_KMS_KEY_ID": "arn:aws:kms:1",
        "GOOGLE_BEARER_TOKEN": "short",
    }
    write_secret(tmp_path, proofs | words)

    assert sorted(secret_values(tmp_path)) == sorted(proofs.values())
    assert secret_values(tmp_path / "nothing") == []


def test_what_is_no_text_beside_the_settings_harms_nothing(tmp_path: Path) -> None:
    write_secret(tmp_path, {"AWS_SECRET_ACCESS_KEY": "mine-alone", "AWS_ACCESS_KEY_ID": "me"})
    (tmp_path / "truststore.jks").write_bytes(b"\xfe\xed\xfe\xed")

    assert secret_values(tmp_path) == ["mine-alone"]
    assert not client_of("s3://data", tmp_path).is_anonymous


def test_how_objects_are_encrypted_says_nothing_of_who_asks(tmp_path: Path) -> None:
    write_secret(tmp_path, {"AWS_SSE_BUCKET_KEY_ENABLED": "true", "AWS_REGION": "eu-west-1"})

    assert client_of("s3://data", tmp_path).is_anonymous


def test_an_object_that_takes_long_outlives_a_reset_and_silence_as_long_as_is_said(tmp_path: Path) -> None:
    store = client_of("s3://data", tmp_path).store
    source = parse_source("s3://data")
    assert isinstance(source, BucketSource)
    patient = connect(source, secret=tmp_path, field=FIELD, silence=timedelta(minutes=10)).store

    assert isinstance(store, S3Store)
    assert isinstance(patient, S3Store)
    assert [one.client_options and one.client_options["read_timeout"] for one in (store, patient)] == ["1m", "10m"]
    assert store.retry_config is not None
    assert store.retry_config["retry_timeout"] == timedelta(days=1)


def test_an_object_that_can_be_no_file_is_named(tmp_path: Path) -> None:
    listing = (
        "<ListBucketResult><Name>data</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents>"
        "<Key>x//y.txt</Key><LastModified>2026-11-30T00:00:00.000Z</LastModified><Size>3</Size></Contents>"
        "</ListBucketResult>"
    )
    with answering(200, listing) as endpoint:
        write_secret(tmp_path, {"AWS_ENDPOINT_URL": endpoint})
        told = failure_of("s3://data", tmp_path)

    assert told == (
        Reason.MODEL_NOT_FOUND,
        'reading: "x//y.txt" cannot be the name of a file; rename that object, or name a path without it',
    )


def test_a_server_that_knows_no_conditions_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clients._RETRIES, "max_retries", 0)
    error = "<Code>NotImplemented</Code><Message>Not implemented:</Message><Header>If-None-Match</Header>"
    with answering(501, f"<Error>{error}</Error>") as endpoint:
        write_secret(tmp_path, {"AWS_ENDPOINT_URL": endpoint})
        bucket = client_of("s3://data", tmp_path)
        with (
            pytest.raises(RunFailure) as failed,
            told_as_failures("writing", bucket, refused=Reason.WRITE_FORBIDDEN),
        ):
            obstore.put(bucket.store, "x", b"1", mode="create")

    assert (failed.value.reason, failed.value.message) == (
        Reason.WRITE_FORBIDDEN,
        f"writing: {endpoint} does not know what it is asked (Not implemented: If-None-Match); name a bucket of a "
        "server that does",
    )


def test_regions_are_told_of_s3_alone(tmp_path: Path) -> None:
    error = GenericError("Received redirect without LOCATION, this normally indicates an incorrectly configured region")

    told = [
        as_failure(error, "reading", client_of(source, tmp_path), refused=Reason.MODEL_NOT_FOUND).message
        for source in ("s3://data", "gs://data")
    ]

    assert ["AWS_REGION" in message for message in told] == [True, False]


@pytest.mark.parametrize(("tag", "condition"), [(None, {}), ("a", {"if_match": '"a"'}), ('"a"', {"if_match": '"a"'})])
def test_tags_are_quoted_where_they_are_a_condition(tag: str | None, condition: dict[str, str]) -> None:
    assert still(tag) == condition


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """Give the endpoint of a server that has one answer."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_GET  # noqa: N815 - as the base class wants it

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
