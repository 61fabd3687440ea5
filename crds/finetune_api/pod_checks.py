"""What additions to pods may not touch: the rules of the CRD once more, for templates that no API server has seen."""

import re
from collections.abc import Iterable, Iterator

from finetune_api import pod_template as rules
from finetune_api.pod_template import PodTemplate, PodTemplates
from finetune_api.problem import Problem

_OURS = "it is the operator's"


def check_pod_templates(templates: PodTemplates | None, *, path: str, accelerator: str = "") -> Iterator[Problem]:
    """Yield what is wrong with the templates at `path`.

    Args:
        templates: of a job, or of the administrator.
        path: of the templates, for example `spec.podTemplate`.
        accelerator: resource that the job asks for in spec.resources.

    """
    for role in PodTemplates.model_fields:
        template: PodTemplate | None = getattr(templates, role, None)
        if template is not None:
            where = f"{path}.{role}"
            yield from _check_metadata(where, template)
            yield from _check_environment(where, template)
            yield from _check_volumes(where, template)
            if role in ("all", "train"):
                yield from _check_amounts(where, template, accelerator)


def _check_metadata(path: str, template: PodTemplate) -> Iterator[Problem]:
    fixed = (*rules.OUR_LABELS, rules.QUEUE_LABEL)
    labels = [key for key in template.labels if key.startswith(rules.OUR_PREFIXES) or key in fixed]
    annotations = [key for key in template.annotations if key.startswith(rules.OUR_PREFIXES[0])]
    yield from (Problem(f"{path}.labels", key, _OURS, rules.LABEL_FIX) for key in labels)
    yield from (Problem(f"{path}.annotations", key, _OURS, rules.ANNOTATION_FIX) for key in annotations)


def _check_environment(path: str, template: PodTemplate) -> Iterator[Problem]:
    named = [(f"{path}.env[{i}].name", one.name) for i, one in enumerate(template.env)]
    named += [(f"{path}.envFrom[{i}].prefix", one.prefix or "") for i, one in enumerate(template.env_from)]
    yield from _matching(named, rules.OUR_VARIABLES, rules.VARIABLE_FIX)


def _check_volumes(path: str, template: PodTemplate) -> Iterator[Problem]:
    volumes, mounts = list(enumerate(template.volumes)), list(enumerate(template.volume_mounts))
    named = [(f"{path}.volumes[{i}].name", one.name) for i, one in volumes]
    named += [(f"{path}.volumeMounts[{i}].name", one.name) for i, one in mounts]
    yield from _matching(named, rules.OUR_VOLUMES, rules.VOLUME_FIX)
    paths = [(f"{path}.volumeMounts[{i}].mountPath", one.mount_path) for i, one in mounts]
    yield from _matching(paths, rules.OUR_PATHS, rules.PATH_FIX)
    for index, volume in volumes:
        if (num := volume.num_sources) != 1:
            because = f"it has {num} sources"
            yield Problem(f"{path}.volumes[{index}]", volume.name, because, rules.SOURCE_FIX)


def _matching(named: Iterable[tuple[str, str]], pattern: str, fix: str) -> Iterator[Problem]:
    return (Problem(where, name, _OURS, fix) for where, name in named if re.search(pattern, name))


def _check_amounts(path: str, template: PodTemplate, accelerator: str) -> Iterator[Problem]:
    if template.resources is None:
        return
    for kind, ours in (("requests", ("cpu", "memory")), ("limits", ("memory",))):
        for name, amount in getattr(template.resources, kind).items():
            if name in ours:
                yield Problem(f"{path}.resources.{kind}.{name}", amount, "it has another home", rules.AMOUNT_FIX)
            if name == accelerator:
                where = f"{path}.resources.{kind}.{name}"
                yield Problem(where, amount, "it has another home", rules.ACCELERATOR_FIX)
