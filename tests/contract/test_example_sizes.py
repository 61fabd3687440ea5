"""Every manifest that is shown asks for the memory, shared memory and storage that it needs, by `finetune estimate`.

By arithmetic, since nothing here has run on a GPU.
"""

import pytest
import yaml

from finetune_api.types import FinetuneJobSpec
from finetune_cli.local.expected import estimate_manifest
from finetune_trainer.recipe.capacity.need import Need
from tests.contract.model_sizes import SIZES
from tests.contract.test_examples import EXAMPLES, ROOT, manifests_in

#: On stand-ins of GPUs, which need no CUDA.
SIMULATED = {"examples/demo.yaml"}
LARGE = "hf://Qwen/"


def shown() -> dict[str, FinetuneJobSpec]:
    """Return the jobs by where they are shown: the examples, and those of the README and the docs that are whole."""
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in EXAMPLES}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts |= {
        f"{page.relative_to(ROOT)} {number}": one
        for page in pages
        for number, one in enumerate(manifests_in(page.read_text()))
    }
    specs = {name: yaml.safe_load(text).get("spec") for name, text in texts.items()}
    return {name: FinetuneJobSpec.model_validate(spec) for name, spec in specs.items() if _is_known(spec)}


def _is_known(spec: dict[str, object] | None) -> bool:
    model = (spec or {}).get("model")
    return isinstance(model, dict) and ("router" in model or model.get("source") in SIZES)


SHOWN = shown()
LARGE_ONES = [name for name, spec in SHOWN.items() if str(spec.model.source).startswith(LARGE)]


def needs(name: str) -> dict[str, Need]:
    found = estimate_manifest(SHOWN[name], SIZES, on_cpu=name in SIMULATED).needs
    return {need.resource: need for need in found}


@pytest.mark.parametrize("name", SHOWN)
def test_a_manifest_that_is_shown_passes_its_own_estimate(name: str) -> None:
    told = [one for need in needs(name).values() for one in (need.refusal(), need.warning()) if one is not None]

    assert told == []


@pytest.mark.parametrize("name", LARGE_ONES)
def test_storage_holds_the_models_and_the_checkpoints_with_half_of_it_left_for_the_data(name: str) -> None:
    volume = needs(name)["storage"]

    assert volume.have_bytes is not None
    assert 2 * volume.num_bytes <= volume.have_bytes


@pytest.mark.parametrize("name", LARGE_ONES)
def test_a_large_model_with_what_it_is_trained_with_fits_80_gb(name: str) -> None:
    assert needs(name)["device memory"].num_bytes <= 80e9


def test_every_example_is_looked_at() -> None:
    assert {str(path.relative_to(ROOT)) for path in EXAMPLES} <= set(SHOWN)
    assert {name for name in SHOWN if name.startswith("README.md")} == {"README.md 0", "README.md 1"}
    assert len(LARGE_ONES) >= 5
