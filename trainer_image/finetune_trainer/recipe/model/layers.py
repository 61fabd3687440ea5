"""The layers of which a model has many."""

from collections import defaultdict

from torch.nn import Module, ModuleList, Parameter


def layers_of(model: Module) -> list[Module]:
    """Return the layers of which a model has many, one after the other, none inside another.

    Those that have a weight in common with what is outside, as a decoder that is tied to its encoder, are left out.
    """
    owners: dict[Parameter, set[Module]] = defaultdict(set)
    for module in model.modules():
        for one in module.parameters(recurse=False):
            owners[one].add(module)
    found: list[Module] = []
    for module in model.modules():
        is_stack = isinstance(module, ModuleList) and len(module) > 1 and len({type(one) for one in module}) == 1
        if is_stack and not any(module is inner for layer in found for inner in layer.modules()):
            found.extend(module.children())
    return [layer for layer in found if all(owners[one] <= set(layer.modules()) for one in layer.parameters())]
