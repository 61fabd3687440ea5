"""Which improvement a job has to show before its model is published. Whoever needs to know asks here."""

from finetune_api.types import FinetuneJobSpec, Gate


def effective_gate(spec: FinetuneJobSpec) -> Gate | None:
    """Return the gate that decides; None if what was trained is published whatever it reaches, or not at all."""
    publish = spec.publish
    if publish is None or publish.always or not is_compared(spec):
        return None
    return publish.gate or Gate()


def is_compared(spec: FinetuneJobSpec) -> bool:
    """Say whether base model and result are both measured."""
    return _is_measured(spec) and spec.evaluation.baseline


def ungated_note(spec: FinetuneJobSpec) -> str | None:
    """Return what to know about a model that is published unseen, None if it is compared or that is wanted."""
    if spec.publish is None or spec.publish.always or is_compared(spec):
        return None
    because, fix = (
        ("evaluation.baseline is false", "leave it true")
        if _is_measured(spec)
        else ("there is no evaluation set", "add data.evaluation, or holdOut to a training set")
    )
    return (
        f"spec.publish: {because}, so the model is published whether it got better or not; {fix}, or set "
        "publish.always to say that this is meant"
    )


def _is_measured(spec: FinetuneJobSpec) -> bool:
    return bool(spec.data.evaluation) or any(one.hold_out is not None for one in spec.data.train)
