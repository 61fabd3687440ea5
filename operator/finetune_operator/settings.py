"""What the administrator sets, from the environment. The chart's values end up here and nowhere else."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import ValidationError

from finetune_api.base import Contract
from finetune_api.pod_checks import check_pod_templates
from finetune_api.pod_template import PodSecurity, PodTemplates
from finetune_api.problems import schema_problems
from finetune_operator.core.platform import Platform


class SettingsError(ValueError):
    """The environment cannot be used; the message lists every problem."""


@dataclass(frozen=True, kw_only=True)
class Settings(Platform):
    """All settings; each is the environment variable of the same name in capitals.

    What decisions depend on is inherited; the rest is wiring.
    """

    gang_scheduling: str = "Auto"
    """Auto: by PodGroups where the API server has them when the operator starts. Never: not at all."""
    watch_namespaces: tuple[str, ...] = ()
    """Serve these namespaces only; none named for all of them."""
    progress_poll_seconds: float = 4.0
    """How often rank 0 of each training job is asked for progress. With `progress_status_seconds` it decides how old
    the progress in a status gets: a write follows every third answer, 12 s after the one before."""
    progress_status_seconds: float = 10.0
    """Least time between two writes of progress into one status."""
    progress_writes_per_second: float = 20.0
    """How many writes of progress all jobs share; with more than 200 trainings at once that time gets longer."""
    resync_seconds: float = 600.0
    """How often everything is listed anew and looked at again."""
    workers: int = 32
    """Jobs that are looked at at the same time, and with it requests under way: each look waits for one at a time."""
    http_port: int = 8080
    """Port of /healthz, /readyz and /metrics."""
    log_format: str = "auto"
    """json, plain, or auto: plain on a terminal, else json."""
    log_level: str = "info"
    """debug, info, warning or error."""
    pod_name: str = field(default_factory=socket.gethostname)
    """Name of this pod, for Events and the Lease."""
    pod_namespace: str = "default"
    """Namespace of this pod, where the Lease is."""
    lease_name: str = ""
    """Lease that the replicas share, whose holder works; empty for a replica that works alone."""


CHOICES = {
    "gang_scheduling": ("Auto", "Never"),
    "trainer_image_pull_policy": ("Always", "IfNotPresent", "Never"),
    "log_format": ("json", "plain", "auto"),
    "log_level": ("debug", "info", "warning", "error"),
}
#: Settings that are JSON, and what the chart calls them.
MODELS: dict[str, tuple[type[Contract], str]] = {
    "pod_template": (PodTemplates, "podTemplate"),
    "pod_security": (PodSecurity, "podSecurity"),
}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings; raises SettingsError with everything that is wrong."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item in fields(Settings):
        text = environment.get(item.name.upper(), "").strip()
        if not text:
            continue
        try:
            values[item.name] = _read(item.name, text, str(item.type))
        except ValidationError as error:
            problems += map(str, schema_problems(error, path=MODELS[item.name][1]))
        except ValueError as error:
            problems.append(f"{item.name.upper()}: {text!r} is wrong because {error}")
    if not values.get("trainer_image"):
        problems.append("TRAINER_IMAGE: '' is wrong because jobs need an image; give the trainer image's reference")
    problems += map(str, check_pod_templates(values.get("pod_template"), path="podTemplate"))
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**values)


def _read(name: str, text: str, kind: str) -> Any:  # noqa: ANN401 - one of the types of Settings
    if name in CHOICES and text not in CHOICES[name]:
        raise ValueError(f"it is none of {', '.join(CHOICES[name])}")
    if name in MODELS:
        return MODELS[name][0].model_validate_json(text)
    if "bool" in kind:
        return _read_flag(text)
    if "tuple" in kind:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if "float" in kind or "int" in kind:
        return _read_number(text, int if "int" in kind else float)
    return text


def _read_flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("it is neither true nor false")
    return text.lower() == "true"


def _read_number(text: str, kind: type[int] | type[float]) -> float:
    try:
        number = kind(text)
    except ValueError:
        raise ValueError("it is no number") from None
    if not number > 0:
        raise ValueError("it is not above zero")
    return number
