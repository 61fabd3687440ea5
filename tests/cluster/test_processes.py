import fcntl
import gc
import json
import os
import select
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cgroups, processes
from tests.cluster.api import wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep records, logs and control groups apart from those of a cluster that runs."""
    monkeypatch.setattr(processes, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(processes, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(cgroups, "PARENT", f"finetune-test-{tmp_path.name}")
    yield
    cgroups.remove_all()


def test_a_started_process_runs_until_it_is_stopped() -> None:
    processes.start("sleeper", ["sleep", "3600"])
    was_running = processes.is_running("sleeper")

    processes.stop("sleeper")

    assert (was_running, processes.is_running("sleeper")) == (True, False)


def test_starting_a_running_process_again_changes_nothing(tmp_path: Path) -> None:
    processes.start("sleeper", ["sleep", "3600"])
    record = (tmp_path / "records" / "sleeper.json").read_text()

    processes.start("sleeper", ["sleep", "3600"])

    assert (tmp_path / "records" / "sleeper.json").read_text() == record


def test_another_process_that_got_the_same_number_is_not_taken_for_ours(tmp_path: Path) -> None:
    processes.start("sleeper", ["sleep", "3600"])
    file = tmp_path / "records" / "sleeper.json"
    record = json.loads(file.read_text())

    file.write_text(json.dumps(record | {"startTicks": record["startTicks"] - 1}))

    assert not processes.is_running("sleeper")


def test_a_process_without_a_record_is_ended_with_its_group(tmp_path: Path) -> None:
    processes.start("sleeper", ["sleep", "3600"])
    file = tmp_path / "records" / "sleeper.json"
    record = file.read_text()
    file.unlink()

    cgroups.remove(processes.GROUP)

    file.write_text(record)
    assert not processes.is_running("sleeper")


def test_a_process_that_is_left_to_itself_is_no_leak_to_python() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        processes.start("sleeper", ["sleep", "3600"])
        gc.collect()

    assert processes.is_running("sleeper")
    assert [str(warning.message) for warning in caught] == []


def test_a_process_does_not_keep_what_its_driver_has_open() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFD, 0)  # as a lock is that `flock FILE COMMAND` holds for the command

    processes.start("sleeper", ["sleep", "3600"])
    os.close(writing)

    assert select.select([reading], [], [], 300)[0] == [reading]  # its other end is open nowhere any more
    assert os.read(reading, 1) == b""
    assert processes.is_running("sleeper")
    os.close(reading)


def test_the_end_of_a_log_is_told() -> None:
    processes.start("talker", ["/bin/sh", "-c", "echo one; echo two; echo three"])

    wait_until(lambda: not processes.is_running("talker"), seconds=300, what="talker ended")

    assert processes.tail("talker", lines=2) == "two\nthree"
