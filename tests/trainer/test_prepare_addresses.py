"""prepare: images by name and by address, and everything that such a name must not lead to."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest

from finetune_api.reasons import Reason
from finetune_trainer.prepare.fetch.addresses import Addresses, Limits, Refused
from finetune_trainer.prepare.fetch.public_network import PublicNetwork, connect, is_public
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import Column
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl
from tests.trainer.image_host import (
    PUBLIC,
    ImageHost,
    content,
    dripping,
    running_image_host,
    running_proxy,
    status,
)
from tests.trainer.laying_out import kept, lay_out, read, text_run

HOST, OTHER = "images.example", "elsewhere.example"
ANOTHER = "93.184.215.14"
BY_NAME = {"query": "question", "positive": "page", "images": ["page"]}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ImageHost]:
    with running_image_host(tmp_path, HOST, OTHER) as host:
        yield host


def refusal(host: ImageHost, path: str = "/page.png", limits: Limits | None = None) -> str:
    """Return why what is at `path` of HOST cannot be had."""
    with pytest.raises(Refused) as refused:
        host.addresses(HOST, limits=limits).fetch(f"https://{HOST}{path}")
    return refused.value.because


def pages_run(make_run: MakeRun, claim: Path, pages: Sequence[object]) -> Run:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": f"q{i}", "page": page} for i, page in enumerate(pages)])
    return text_run(make_run, columns=BY_NAME)


def contents(run: Run) -> list[bytes]:
    return [kept(run, row["positive"]) for row in read(run.workspace.train_table("qa"))]


def test_strings_are_images_where_the_spec_says_so(make_run: MakeRun, claim: Path) -> None:
    run = pages_run(make_run, claim, ["pages/red.png", "blue.png"])
    (claim / "qa" / "pages").mkdir()
    (claim / "qa" / "pages" / "red.png").write_bytes(png("red"))
    (claim / "qa" / "blue.png").write_bytes(png("blue"))

    found = lay_out(run)

    assert found.train[0].columns == [
        Column(name="query", modality="text"),
        Column(name="positive", modality="image"),
    ]
    assert contents(run) == [png("red"), png("blue")]


def test_lists_of_names_are_lists_of_images(make_run: MakeRun, claim: Path) -> None:
    run = pages_run(make_run, claim, [["red.png", "blue.png"]])
    for color in ("red", "blue"):
        (claim / "qa" / f"{color}.png").write_bytes(png(color))

    lay_out(run)

    assert contents(run) == [png("red"), png("blue")]


def test_names_never_leave_the_dataset(make_run: MakeRun, claim: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    names = ["../model/config.json", str(tmp_path / "secret.png"), "file:///etc/passwd", "no\0file", "missing.png", ""]
    run = pages_run(make_run, claim, names)

    with pytest.raises(RunFailure) as failure:
        lay_out(run)

    for number, because in enumerate(
        [
            "image path leads out of the dataset",
            "image path leads out of the dataset",
            "image at an address that is not plain https://HOST/PATH",
            r"image file no\x00file is missing; paths are relative to the dataset's folder",
            "image file missing.png is missing",
        ]
    ):
        assert f"row {number}: positive: {because}" in failure.value.message
    assert "6 rows of 6" in failure.value.message
    assert str(tmp_path) not in failure.value.message


def test_values_of_a_corpus_may_be_names(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a"}])
    tables = {
        "queries": [{"id": "1", "text": "first"}],
        "corpus": [{"id": "a", "page": "red.png"}, {"id": "b", "page": "blue.png"}],
        "qrels": [{"query_id": "1", "corpus_id": "a"}],
    }
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}.jsonl\n" for name in tables
    )
    for name, rows in tables.items():
        write_jsonl(claim / "held-out" / f"{name}.jsonl", rows)
    (claim / "held-out" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for color in ("red", "blue"):
        (claim / "held-out" / f"{color}.png").write_bytes(png(color))
    named = {
        "queries": {"subset": "queries", "split": "test"},
        "corpus": {"subset": "corpus", "split": "test", "value": "page", "images": True},
        "relevantDocuments": {"subset": "qrels", "split": "test"},
    }

    found = lay_out(
        text_run(make_run, evaluation=[{"name": "held-out", "source": "pvc://inputs/held-out", "tables": named}])
    )

    assert found.evaluations[0].corpus_modality == "image"


def test_an_address_that_comes_often_is_fetched_once(make_run: MakeRun, claim: Path, host: ImageHost) -> None:
    host.answers = {"/red.png": [content(png("red"))], "/blue.png": [content(png("blue"))]}
    pages = [f"https://{HOST}/red.png?token=secret", f"https://{HOST}/blue.png"] * 40
    run = pages_run(make_run, claim, pages)

    lay_out(run, addresses=host.addresses(HOST))

    assert contents(run) == [png("red"), png("blue")] * 40
    assert sorted(host.asked) == [(HOST, "/blue.png"), (HOST, "/red.png?token=secret")]
    assert set(host.connected) == {PUBLIC}


def test_the_next_rows_are_fetched_while_one_waits_and_come_in_order(
    make_run: MakeRun, claim: Path, host: ImageHost
) -> None:
    late = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        assert late.wait(300)
        content(png("red"))(request)

    def in_time(request: BaseHTTPRequestHandler) -> None:
        late.set()
        content(png("green"))(request)

    host.answers = {"/slow.png": [slow], "/page.png": [content(png("blue"))], "/late.png": [in_time]}
    pages = [f"https://{HOST}/{name}.png" for name in ("slow", *["page"] * 20, "late")]
    run = pages_run(make_run, claim, pages)

    lay_out(run, addresses=host.addresses(HOST))

    assert contents(run) == [png("red"), *[png("blue")] * 20, png("green")]


def test_what_was_fetched_is_not_fetched_again_by_another_try(make_run: MakeRun, claim: Path, host: ImageHost) -> None:
    host.answers = {"/red.png": [content(png("red"))], "/blue.png": [status(404), content(png("blue"))]}
    run = pages_run(make_run, claim, [f"https://{HOST}/{color}.png?token=secret" for color in ("red", "blue")])
    with pytest.raises(RunFailure, match="the host answers 404"):
        lay_out(run, addresses=host.addresses(HOST))
    (remembered,) = run.workspace.inputs.rglob("fetched.jsonl")
    remembered.write_text(remembered.read_text() + '["torn')  # as by a kill

    lay_out(run, addresses=host.addresses(HOST))

    assert contents(run) == [png("red"), png("blue")]
    assert sorted(host.asked) == [(HOST, f"/{color}.png?token=secret") for color in ("blue", "blue", "red")]
    assert "secret" not in remembered.read_text()


def test_what_was_fetched_from_a_host_that_is_not_named_any_more_is_refused(
    make_run: MakeRun, claim: Path, host: ImageHost
) -> None:
    host.answers = {"/red.png": [content(png("red"))]}
    run = pages_run(make_run, claim, [f"https://{HOST}/red.png"])
    lay_out(run, addresses=host.addresses(HOST))

    with pytest.raises(RunFailure, match=f"image at {HOST}, which data.allowImageUrls does not name"):
        lay_out(run, addresses=host.addresses(OTHER))


def test_a_connection_is_kept_for_the_next_image_and_replaced_where_the_host_has_closed_it(host: ImageHost) -> None:
    host.answers = {"/page.png": [content(png())], "/last.png": [content(png(), Connection="close")]}
    addresses = host.addresses(HOST)

    for path in ("page", "page", "last", "page"):
        addresses.fetch(f"https://{HOST}/{path}.png")

    assert host.connected == [PUBLIC] * 2


def test_the_proxy_of_the_environment_is_asked_for_hosts_that_it_does_not_leave_out(
    host: ImageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers = {"/page.png": [content(png())]}
    asked: list[str] = []
    with running_proxy(asked, port=host.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{proxy}")
        monkeypatch.setenv("NO_PROXY", OTHER)
        addresses = replace(host.addresses(HOST, OTHER), network=replace(host.addresses().network, connect=connect))

        found = addresses.fetch(f"https://{HOST}/page.png")
        addresses.pools.close()

    assert found == png()
    assert asked == [f"CONNECT {HOST}:443 Basic dXNlcjp3b3Jk"]
    assert host.addresses(OTHER).fetch(f"https://{OTHER}/page.png") == png()
    assert host.connected == [PUBLIC]


def test_a_proxy_that_refuses_is_told(host: ImageHost, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_proxy([], port=None) as proxy:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy}")
        addresses = host.addresses(HOST)

        with pytest.raises(Refused) as refused:
            replace(addresses, network=replace(addresses.network, connect=connect)).fetch(f"https://{HOST}/page.png")

    assert refused.value.because == f"image at {HOST}: the proxy answers 403 Forbidden"


def test_addresses_that_fail_make_bad_rows_without_their_secrets(
    make_run: MakeRun, claim: Path, host: ImageHost
) -> None:
    host.answers = {"/gone.png": [status(404)], "/text.png": [content(b"no image")], "/none.png": [content(b"")]}
    names = [f"https://{HOST}/{name}.png?token=secret" for name in ("gone", "text", "none")]
    run = pages_run(make_run, claim, [*names, f"https://{OTHER}/x.png?token=secret"])

    with pytest.raises(RunFailure) as failure:
        lay_out(run, addresses=host.addresses(HOST))

    for number, because in enumerate(
        [
            f"image at {HOST}: the host answers 404",
            "image cannot be decoded",
            "empty image",
            f"image at {OTHER}, which data.allowImageUrls does not name",
        ]
    ):
        assert f"row {number}: positive: {because}" in failure.value.message
    assert "secret" not in failure.value.message
    assert {name for name, _ in host.asked} == {HOST}


def test_no_address_is_fetched_by_default(make_run: MakeRun, claim: Path) -> None:
    run = pages_run(make_run, claim, [f"https://{HOST}/red.png"])

    with pytest.raises(RunFailure) as failure:
        lay_out(run)

    assert f"row 0: positive: image at {HOST}, which data.allowImageUrls does not name" in failure.value.message


@pytest.mark.parametrize(
    "address",
    [
        f"http://{HOST}/page.png",
        f"https://{HOST}:8443/page.png",
        f"https://user:password@{HOST}/page.png",
        f"https://{HOST}@{OTHER}/page.png",
        f"ftp://{HOST}/page.png",
    ],
)
def test_only_plain_https_is_asked(host: ImageHost, address: str) -> None:
    with pytest.raises(Refused, match="at an address that is not plain https"):
        host.addresses(HOST, OTHER).fetch(address)

    assert host.asked == []


@pytest.mark.parametrize("name", [f"sub.{HOST}", f"{HOST}.evil.example", f"{HOST}.", "127.0.0.1", "localhost"])
def test_a_host_must_be_named_exactly(host: ImageHost, name: str) -> None:
    with pytest.raises(Refused, match="does not name"):
        host.addresses(HOST).fetch(f"https://{name}/page.png")

    assert host.asked == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["::1"], ["fd00:ec2::254"], [PUBLIC, "192.168.0.1"], []],
)
def test_a_host_with_any_private_address_is_never_connected_to(host: ImageHost, addresses: list[str]) -> None:
    host.names[HOST] = addresses

    assert refusal(host) == f"image at {HOST}: the host has a private address"
    assert host.connected == []


def test_the_address_that_was_checked_is_the_one_connected_to(host: ImageHost) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    host.answers = {"/page.png": [content(png())]}
    addresses = host.addresses(HOST)
    addresses = replace(addresses, network=replace(addresses.network, resolve=lambda _host, _port: next(answers)))

    found = addresses.fetch(f"https://{HOST}/page.png")

    assert found == png()
    assert host.connected == [PUBLIC]


def test_the_next_address_is_tried_where_one_does_not_answer(host: ImageHost) -> None:
    host.names[HOST], host.unreachable = [PUBLIC, ANOTHER], {PUBLIC}
    host.answers = {"/page.png": [content(png())]}

    found = host.addresses(HOST).fetch(f"https://{HOST}/page.png")

    assert found == png()
    assert host.connected == [ANOTHER]


@pytest.mark.parametrize("missing", [{"unreachable": {PUBLIC}}, {"unknown": {HOST}}])
def test_a_host_that_does_not_answer_at_all_is_told(host: ImageHost, missing: dict[str, set[str]]) -> None:
    vars(host).update(missing)

    assert refusal(host) == f"image at {HOST}: the host cannot be reached"


def test_what_is_no_host_name_is_told_as_unreachable(host: ImageHost) -> None:
    addresses = replace(host.addresses("no..host"), network=PublicNetwork())

    with pytest.raises(Refused, match="the host cannot be reached"):
        addresses.fetch("https://no..host/page.png")


def test_hosts_are_listed_in_any_case() -> None:
    assert Addresses.of(["Images.Example"]).hosts == {HOST}


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::a00:1", False),
        ("::ffff:10.0.0.1", False),
        (f"::ffff:{PUBLIC}", True),
        ("2002:a00:1::", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("100.64.0.1", False),
        ("192.0.0.8", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
    ],
)
def test_private_addresses_are_known_in_every_disguise(address: str, *, public: bool) -> None:
    assert is_public(address) is public


def test_a_redirect_to_a_listed_host_is_followed(host: ImageHost) -> None:
    host.answers = {
        "/page.png": [status(302, Location="/next")],
        "/next": [status(307, Location=f"https://{OTHER}/there.png?a=b")],
        "/there.png": [content(png())],
    }

    found = host.addresses(HOST, OTHER).fetch(f"https://{HOST}/page.png")

    assert found == png()
    assert host.asked == [(HOST, "/page.png"), (HOST, "/next"), (OTHER, "/there.png?a=b")]


@pytest.mark.parametrize(
    ("location", "because"),
    [
        (f"https://{OTHER}/x?token=secret", f"at {OTHER}, which data.allowImageUrls does not name"),
        ("https://169.254.169.254/latest", "at 169.254.169.254, which data.allowImageUrls does not name"),
        (f"http://{HOST}/x", "at an address that is not plain https://HOST/PATH"),
        ("file:///etc/passwd", "at an address that is not plain https://HOST/PATH"),
    ],
)
def test_a_redirect_off_the_list_is_refused(host: ImageHost, location: str, because: str) -> None:
    host.answers = {"/page.png": [status(301, Location=location)]}

    assert refusal(host) == f"image at {HOST} is redirected, to one {because}"
    assert len(host.asked) == 1


def test_redirects_in_circles_come_to_an_end(host: ImageHost) -> None:
    host.answers = {"/page.png": [status(302, Location="/page.png")]}

    assert refusal(host) == f"image at {HOST} is redirected more than 5 times"
    assert len(host.asked) == 6


def test_a_host_that_fails_for_now_is_asked_again(host: ImageHost) -> None:
    host.answers = {"/page.png": [status(503), status(429), content(png())]}

    assert host.addresses(HOST).fetch(f"https://{HOST}/page.png") == png()


def test_a_host_that_keeps_failing_is_given_up(host: ImageHost) -> None:
    host.answers = {"/page.png": [status(500)]}

    assert refusal(host) == f"image at {HOST}: the host answers 500"
    assert len(host.asked) == 3


def test_more_bytes_than_allowed_are_not_read(host: ImageHost) -> None:
    host.answers = {"/page.png": [content(b"-" * 100_000)]}

    assert refusal(host, limits=Limits(bytes=1000)) == f"image at {HOST}: it has more than 1000 bytes"


def test_a_host_that_drips_takes_too_long(host: ImageHost) -> None:
    ended = threading.Event()
    host.answers = {"/page.png": [dripping(ended)]}

    because = refusal(host, limits=Limits(seconds=0.3, attempts=1))

    ended.set()
    assert because == f"image at {HOST}: it takes too long"


def test_a_host_whose_certificate_is_of_another_is_refused(tmp_path: Path) -> None:
    with running_image_host(tmp_path, OTHER) as host:
        assert refusal(host) == f"image at {HOST}: the host has no valid certificate"


def test_a_host_that_is_silent_is_given_up_and_asked_again_only_by_another_job(host: ImageHost) -> None:
    host.answers |= {f"/page-{number}.png": [status(503)] for number in range(5)}
    limits = Limits(pause_seconds=0, attempts=2, lost_in_a_row=3)
    addresses = host.addresses(HOST, limits=limits)

    told = []
    for number in range(5):
        with pytest.raises(Refused) as refused:
            addresses.fetch(f"https://{HOST}/page-{number}.png")
        told.append(refused.value.because)

    assert told == [
        *[f"image at {HOST}: the host answers 503"] * 3,
        *[f"image at {HOST}: not asked for, as the host failed 3 times in a row"] * 2,
    ]
    assert [path for _, path in host.asked] == [f"/page-{number}.png" for number in (0, 0, 1, 1, 2, 2)]


def test_a_host_that_delivers_now_and_then_is_never_given_up(host: ImageHost) -> None:
    host.answers["/page.png"] = [content(png())]
    host.answers["/busy.png"] = [status(503)]
    addresses = host.addresses(HOST, limits=Limits(pause_seconds=0, attempts=1, lost_in_a_row=2))

    for _ in range(3):
        with pytest.raises(Refused, match="503"):
            addresses.fetch(f"https://{HOST}/busy.png")
        assert addresses.fetch(f"https://{HOST}/page.png") == png()


def test_a_host_that_is_down_for_a_while_loses_no_image(host: ImageHost) -> None:
    host.answers["/page.png"] = [content(png()), status(503), status(502), content(png())]
    host.answers["/next.png"] = [status(503)] * 4 + [content(b"next")]
    addresses = host.addresses(HOST, limits=Limits(pause_seconds=0, attempts=2))
    addresses.fetch(f"https://{HOST}/page.png")

    assert addresses.fetch(f"https://{HOST}/next.png") == b"next"


def test_an_image_that_its_host_fails_to_deliver_while_others_come_is_given_up(host: ImageHost) -> None:
    host.answers = {"/page.png": [content(png())], "/broken.png": [status(500)]}
    addresses = host.addresses(HOST)
    addresses.fetch(f"https://{HOST}/page.png")

    with pytest.raises(Refused, match="the host answers 500"):
        addresses.fetch(f"https://{HOST}/broken.png")

    assert [path for _, path in host.asked] == ["/page.png", *["/broken.png"] * 3, "/page.png"]


def test_a_host_that_stays_down_is_no_fault_of_the_data(host: ImageHost) -> None:
    host.answers = {"/page.png": [content(png()), status(503)], "/next.png": [status(503)]}
    addresses = host.addresses(HOST, limits=Limits(pause_seconds=0, attempts=1, silent_seconds=0))
    addresses.fetch(f"https://{HOST}/page.png")

    with pytest.raises(RunFailure) as failure:
        addresses.fetch(f"https://{HOST}/next.png")

    assert (failure.value.reason, failure.value.message) == (
        Reason.HUB_UNAVAILABLE,
        f"data.allowImageUrls: {HOST} has delivered images, but none for 0 minutes (image at {HOST}: the host answers "
        "503); wait until it does",
    )


@pytest.mark.parametrize(("wanted", "pauses"), [({"Retry-After": "7"}, [7]), ({"Retry-After": "900"}, [60]), ({}, [])])
def test_a_host_is_left_alone_for_as_long_as_it_asks(
    host: ImageHost, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str], pauses: list[int]
) -> None:
    slept, now = list[float](), time.monotonic()
    still = SimpleNamespace(sleep=slept.append, monotonic=lambda: now)
    monkeypatch.setattr("finetune_trainer.prepare.fetch.addresses.time", still)
    host.answers = {"/page.png": [status(429, **wanted), content(png())]}

    host.addresses(HOST, limits=Limits(seconds=300, pause_seconds=0)).fetch(f"https://{HOST}/page.png")

    assert [seconds for seconds in slept if seconds > 0] == pytest.approx(pauses)
