"""Clients of buckets: what they are told, and what nobody else is told."""

from pathlib import Path

import obstore
import pytest
from obstore.store import AzureStore, GCSStore, S3Store

from finetune_api.reasons import Reason
from finetune_api.sources import BucketSource, parse_source
from finetune_trainer.buckets.clients import Bucket, connect
from finetune_trainer.buckets.errors import told_as_failures
from finetune_trainer.buckets.secrets import secret_values
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


def test_what_proves_who_asks_is_in_no_log(tmp_path: Path) -> None:
    write_secret(tmp_path, {"AWS_SECRET_ACCESS_KEY": "mine", "AWS_REGION": "eu-west-1", "AWS_SESSION_TOKEN": "short"})

    assert sorted(secret_values(tmp_path)) == ["mine", "short"]
    assert secret_values(tmp_path / "nothing") == []
