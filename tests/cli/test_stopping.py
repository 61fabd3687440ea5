"""Ctrl-C: the first asks the role to save and end, the second ends it and all that it started."""

import os
import signal
import subprocess
import sys

import psutil  # type: ignore[import-untyped]
import pytest

from finetune_cli.local.stopping import Stop
from tests.cluster.api import wait_until

pytestmark = pytest.mark.training

#: Takes SIGTERM in one of two ways, has a child, and says when it is ready.
ROLE = """
import signal, subprocess, sys
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
def on_stop(*_):
    child.kill()
    sys.exit(7)
signal.signal(signal.SIGTERM, {handler})
print(child.pid, flush=True)
while True:
    signal.pause()
"""


def start_role(handler: str) -> tuple[subprocess.Popen[bytes], int]:
    """Return a process that is ready to be stopped, and its child."""
    process = subprocess.Popen([sys.executable, "-c", ROLE.format(handler=handler)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        return process, int(output.readline())


def runs(process: int) -> bool:
    """Tell whether a process runs; one that has ended and that nobody has asked for does not."""
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for_end(process: int) -> None:
    """Return once a process has ended; one that was killed takes a moment to go."""
    wait_until(lambda: not runs(process), seconds=300, what=f"process {process} has ended")


def test_the_first_signal_asks_the_role_to_end_and_says_so() -> None:
    process, _ = start_role("on_stop")
    stop = Stop()

    with stop.listening(), stop.reaching(process):
        before = bool(stop)
        os.kill(os.getpid(), signal.SIGINT)
        code = process.wait(timeout=300)

    assert (before, bool(stop), code) == (False, True, 7)
    assert stop.take_news() == ["Stopping: what is done is saved first. Ctrl-C again ends at once."]
    assert stop.take_news() == []


def test_the_second_signal_ends_the_role_and_all_that_it_started() -> None:
    process, child = start_role("signal.SIG_IGN")
    stop = Stop()

    with stop.listening(), stop.reaching(process):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        code = process.wait(timeout=300)

    assert code == -signal.SIGKILL
    assert stop.take_news()[-1] == "Ending at once."
    wait_for_end(child)


def test_a_failure_of_ours_leaves_no_role_behind() -> None:
    process, _ = start_role("signal.SIG_IGN")

    with pytest.raises(ZeroDivisionError), Stop().reaching(process):
        raise ZeroDivisionError

    assert process.returncode == -signal.SIGKILL


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)

    with Stop().listening():
        inside = signal.getsignal(signal.SIGINT)

    assert inside != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_signal_that_is_ignored_stays_ignored_as_nohup_wants_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = Stop()

    with stop.listening():
        os.kill(os.getpid(), signal.SIGHUP)
    signal.signal(signal.SIGHUP, before)

    assert not stop
