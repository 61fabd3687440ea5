"""Whether each process of a job holds a share of the weights that it trains, or all of them. Pure."""

from finetune_api.types import FinetuneJobSpec, Sharding

#: Beginnings of the names of optimizers that change each number of a weight by itself, and take shares of PyTorch's.
_BY_NUMBER = ("adamw_torch", "sgd", "adagrad", "rmsprop")


def sharding_of(spec: FinetuneJobSpec, *, on_cpu: bool) -> Sharding:
    """Return what `spec.training.sharding` says, or what Auto stands for where memory suffices."""
    if spec.training.sharding != "Auto":
        return spec.training.sharding
    if spec.model.lora is not None or refuses_shares(spec) is not None:
        return "None"
    has_several = not on_cpu and spec.resources.nodes * spec.resources.accelerator.per_node > 1
    return "Optimizer" if has_several or spec.model.dtype == "bfloat16" else "None"


def refuses_shares(spec: FinetuneJobSpec) -> str | None:
    """Return why the weights of this job cannot be held in shares, None if they can."""
    if spec.model.dtype == "float16":
        return "shares are float32, and gradients of float16 weights that are not scaled become 0 or infinite"
    if spec.training.arguments.get("fp16"):
        return "training.arguments.fp16 scales a loss by looking at all gradients, and each process has a share of them"
    optimizer = spec.training.arguments.get("optim")
    if optimizer is not None and not str(optimizer).startswith(_BY_NUMBER):
        return f"the optimizer {optimizer} is not known to work on shares; adamw_torch, sgd, adagrad and rmsprop do"
    return None


def refuses_full_shares(spec: FinetuneJobSpec) -> str | None:
    """Return why holding the layers of this job in shares for all of a step would spare nothing, None if it does."""
    if spec.model.lora is not None:
        return "adapters are trained on weights that stay whole, of which Optimizer shares out as much"
    if spec.model.dtype == "float32" and spec.resources.accelerator.per_node:
        return (
            "autocast of float32 weights keeps a copy of every layer until a pass has come back, which bfloat16 "
            "weights, whose shares are float32 as well, do without"
        )
    return None


def refusal(spec: FinetuneJobSpec) -> str | None:
    """Return why this job cannot have the sharding that it states, None if it can."""
    if spec.training.sharding not in ("Optimizer", "Full"):
        return None
    return refuses_shares(spec) or (refuses_full_shares(spec) if spec.training.sharding == "Full" else None)


def trained_dtype(spec: FinetuneJobSpec) -> str:
    """Return the precision of what the optimizer changes; adapters and shares are float32 on weights of any."""
    if spec.model.lora is not None or sharding_of(spec, on_cpu=False) != "None":
        return "float32"
    return spec.model.dtype
