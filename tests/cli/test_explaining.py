"""`finetune explain`: why a job is where it is, and whose move it is."""

import pytest

from finetune_api.reasons import Reason
from finetune_api.status import Phase
from finetune_cli.cluster.explanation import explain
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import Manifest, read_stored
from tests.cli import stored_jobs
from tests.cli.stored_jobs import NOW, condition, manifest

SILENT = manifest(
    "Training",
    condition("ProgressKnown", "False", "NoAnswer", "rank 0 gives no answer: no connection (Connection refused)"),
    condition("Succeeded", "Unknown", "Training", "attempt 1 trains on 1 node"),
)
OUT_OF_GATE = manifest("Succeeded", condition("Succeeded", "True", "GateNotMet", "ndcg@10 went from 0.8 to 0.79"))
SECRET = manifest("Preparing", condition("Succeeded", "Unknown", "SecretNotFound", 'secret "hub-token" not found'))
LOST_NODE = manifest("Failed", condition("Succeeded", "False", "NodeLost", "spec.retry.infrastructure is used up"))
OURS = manifest("Failed", condition("Succeeded", "False", "InternalError", "KeyError: 'x'"))
NEVER_PLACED = manifest("Failed", condition("Succeeded", "False", "Unschedulable", "gangs in a row did not start"))
UNKNOWN_END = manifest("Failed", condition("Succeeded", "False", "Teleported"))
NEWER = manifest("Queued", condition("Succeeded", "Unknown", "Teleporting", "the gang is being beamed up"))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (
            stored_jobs.QUEUED,
            "search/pages waits for 12:03 min (Unschedulable): 2 of 2 pods have no node yet: 0/2 nodes are available: "
            "2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are available. The cluster's move: Free accelerators "
            "or quota, or change resources, nodeSelector or tolerations.",
        ),
        (
            stored_jobs.TRAINING,
            "search/pages trains (Training): attempt 2 trains on 2 nodes. Nobody's move: It goes on by itself.",
        ),
        (
            stored_jobs.SUCCEEDED,
            "search/pages has succeeded (Published): published as acme/better@0123456789ab. Nobody's move.",
        ),
        (
            stored_jobs.FAILED,
            "search/pages has failed (ColumnNotFound): 2 problems. 1) spec.data.train[0]: dataset pages has no column "
            "page; it has query, image. Log: logs/prepare.log on claim pages-666ff6cc-workspace. Your move: Name "
            "columns that are there.",
        ),
        (
            stored_jobs.SUSPENDED,
            "search/pages is suspended (Suspended): spec.suspend is true; set it to false to go on. Your move: Set "
            "spec.suspend to false to resume from the newest checkpoint.",
        ),
        (
            stored_jobs.RESTARTING,
            "search/pages restarts (TrainerError): attempt 2 begins from step 40, because rank 1: ValueError: boom (at "
            "rows.py:31). Nobody's move: It goes on by itself.",
        ),
        (
            SILENT,
            "search/pages trains (NoAnswer): rank 0 gives no answer: no connection (Connection refused). The cluster's "
            "move: Nothing is restarted for this. Let the operator reach port 9400 of the job's pods, past "
            "NetworkPolicies and meshes, to see progress and to have a gang that hangs restarted.",
        ),
        (
            OUT_OF_GATE,
            "search/pages has succeeded (GateNotMet): ndcg@10 went from 0.8 to 0.79. Your move: The model stays on the "
            "volume; lower publish.gate, or set publish.always, and set spec.rerun to a new text to publish it: "
            "nothing is trained again.",
        ),
        (
            SECRET,
            'search/pages prepares (SecretNotFound): secret "hub-token" not found. Your move: Create the named Secret '
            "in the job's namespace; if the job has failed, set spec.rerun to a new text.",
        ),
        (
            LOST_NODE,
            "search/pages has failed (NodeLost): spec.retry.infrastructure is used up. The cluster's move: Look at the "
            "node.",
        ),
        (
            OURS,
            "search/pages has failed (InternalError): KeyError: 'x'. The developers' move: Please report this with the "
            "log.",
        ),
        (
            NEWER,
            "search/pages waits (Teleporting): the gang is being beamed up. Nobody's move: It goes on by itself.",
        ),
    ],
)
def test_one_line_says_why_since_when_and_whose_move_it_is(stored: Manifest, expected: str) -> None:
    assert str(explain(read_stored(stored), NOW)) == expected


def test_a_job_that_no_operator_has_seen_waits_a_moment_and_then_asks_for_one() -> None:
    new, old = (str(explain(stored_jobs.unseen(seconds=seconds), NOW)) for seconds in (5, 90))

    assert new == (
        "search/pages waits for 5 s (NotSeen): no operator has looked at it yet. Nobody's move: It goes on by itself."
    )
    assert old == (
        "search/pages waits for 1:30 min (NotSeen): no operator has looked at it yet. The cluster's move: Look whether "
        "the operator runs: kubectl get deployments -A -l app.kubernetes.io/name=finetune-operator"
    )


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_with_every_reason_is_one_line(phase: Phase) -> None:
    stored = [manifest(phase, condition("Succeeded", "Unknown", reason, "so")) for reason in Reason]

    told = [str(explain(read_stored(one), NOW)) for one in stored]

    assert all(line.startswith("search/pages ") and "\n" not in line for line in told)


@pytest.mark.parametrize(
    ("stored", "code"),
    [(OUT_OF_GATE, 0), (LOST_NODE, 1), (NEVER_PLACED, 1), (UNKNOWN_END, 1), (stored_jobs.FAILED, 11)],
)
def test_a_job_ends_with_the_exit_code_of_the_role_that_ended_it_and_a_failure_never_with_0(
    stored: Manifest, code: int
) -> None:
    assert read_stored(stored).exit_code == code


def test_a_status_of_a_release_that_this_one_does_not_know_says_what_to_install() -> None:
    with pytest.raises(RefusalError) as refused:
        read_stored(manifest("Levitating"))

    assert str(refused.value) == (
        "search/pages: status.phase is 'Levitating', which finetune 0.1.0 does not know; install the finetune of the "
        "operator's release"
    )
    assert refused.value.code == 30
