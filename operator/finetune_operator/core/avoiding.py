"""Nodes on which hardware failed: the next gangs of the job keep away from them for a day, if there are others.

A wish, not a demand: where the cluster has no other node, training on a doubtful one is better than none.
"""

from datetime import datetime

from finetune_api.reasons import Reason
from finetune_api.status import AvoidedNode, FinetuneJobStatus
from finetune_operator.core.failures import Failure
from finetune_operator.core.times import format_time, parse_time, seconds_since

FORGOTTEN_SECONDS = 24 * 3600
MAX_NODES = 16


def with_fault(status: FinetuneJobStatus, failure: Failure, now: datetime) -> FinetuneJobStatus:
    """Return the status that names the node of a failure of hardware; as it is after any other."""
    if failure.reason != Reason.NODE_FAULT or not failure.node:
        return status
    found = AvoidedNode(name=failure.node, reason=failure.reason, time=format_time(now))
    others = [node for node in status.avoided_nodes if node.name != failure.node]
    return status.model_copy(update={"avoided_nodes": [*others, found][-MAX_NODES:]})


def without_forgotten(status: FinetuneJobStatus, now: datetime) -> FinetuneJobStatus:
    """Return the status without the nodes on which nothing was seen for a day; a time to come was a wrong clock's."""
    ages = {node.name: seconds_since(parse_time(node.time), now) for node in status.avoided_nodes}
    nodes = [node for node in status.avoided_nodes if abs(ages[node.name]) < FORGOTTEN_SECONDS]
    return status.model_copy(update={"avoided_nodes": nodes})
