"""Trained weights, their gradients and the optimizer's states in shares, one per rank, by PyTorch's FSDP2.

A share is float32 whatever the model computes in: at usual learning rates most weights of bfloat16 would not move.
For a step, and for a measurement, every rank gathers the whole weights and keeps them until its end. Between these
points no forward or backward pass is a collective, so that ranks may differ in mini-batches, in the parts of the model
that their rows go through, and in the graphs that they keep. With sharding Full this holds for what is outside of the
model's layers; each of these is gathered for as long as a pass is in it, which takes turns. Weights that are not
trained stay whole on every rank, as they would be gathered for every step anyway; and so do single numbers, which FSDP2
does not take.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import distributed
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import Module, ModuleList, Parameter

from finetune_trainer.recipe.model.layers import layers_of
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.weights.replicated import average_gradients
from finetune_trainer.train.weights.turns import Layer, Turns, is_shared_out


class Trained(ModuleList):
    """All that is trained. The forward pass computes nothing: going back through it is what ends a step."""

    def forward(self) -> torch.Tensor:
        """Return a number to go back from."""
        return torch.zeros((), requires_grad=True)


class Sharded:
    """Weights of which each rank keeps a share. Every rank calls each method at the same point."""

    def __init__(self, model: Module, losses: Sequence[Module], *, ranks: Ranks, full: bool) -> None:
        """Share the weights out.

        Args:
            model: the same on every rank; the precision that its weights came in is that of computing and of writing.
            losses: of the model; layers that they train besides are shared out, too.
            ranks: that take a share each.
            full: let no rank ever have all of them whole.

        """
        self._ranks = ranks
        self._model = model
        self._full = full
        self._written_in = {name: one.dtype for name, one in model.named_parameters(remove_duplicate=False)}
        trained = Trained([model, *losses])
        gathered_in = {one: one.dtype for one in trained.parameters() if is_shared_out(one)}
        policy = MixedPrecisionPolicy(
            param_dtype=next((dtype for dtype in gathered_in.values() if dtype != torch.float32), None),
            reduce_dtype=torch.float32,
            cast_forward_inputs=False,  # models do that themselves, where they want it
            param_dtype_override_fn=gathered_in.pop,  # nothing may hold on to whole weights
        )
        mesh = mesh_of(ranks)
        layers: list[Layer] = []
        for module in [*layers_of(trained), trained]:
            in_turn = full and module is not trained
            dtypes = [gathered_in[one] for one in module.parameters() if one in gathered_in]
            whole = set()
            for one in module.parameters():
                if not is_shared_out(one):
                    whole.add(one)
                elif not isinstance(one, DTensor):
                    one.data = one.data.float()  # layer by layer, so that there never is a whole copy
            fully_shard(module, mesh=mesh, reshard_after_forward=in_turn, mp_policy=policy, ignored_params=whole)
            if in_turn and dtypes:
                shares = (one for one in module.parameters() if isinstance(one, DTensor))
                layers.append(Layer(cast("FSDPModule", module), tuple(zip(shares, dtypes, strict=True))))
        assert isinstance(trained, FSDPModule), "fully_shard makes it one"
        self._root = trained
        in_turns = {one.module for one in layers}
        self._held = [one for one in trained.modules() if isinstance(one, FSDPModule) and one not in in_turns]
        """Modules that are whole from the beginning of a step to its end."""
        self._root.set_reduce_scatter_unused_params(True)
        self._root.set_requires_gradient_sync(False)
        self._root.set_modules_to_backward_prefetch([self._root])  # itself, which is whole: a layer would take a turn
        self._hold(whole=True)
        trained()  # the first module that is called is the root of all; and has its own weights whole now
        self._turns = Turns(layers, group=mesh.get_group(), ranks=ranks)
        self.forget_gradients()

    def gather(self) -> None:
        """Gather what is whole for a step."""
        for module in self._held:  # one after the other: each takes room for a copy
            module.unshard()

    def average_gradients(self) -> None:
        """Leave each rank the mean gradient of its share and no whole weights; a weight that no rank used has none."""
        used = self._ranks.any_has([self._turns.has_used(one) for one in self._trained()])
        self._end_step()
        trained = self._trained()
        average_gradients([one for one in trained if one.ndim == 0], self._ranks)
        for one, is_used in zip(trained, used, strict=True):
            if not is_used:
                one.grad = None
        self._turns.forget()

    def _trained(self) -> list[Parameter]:
        return [one for one in self._root.parameters() if one.requires_grad]

    def _end_step(self) -> None:
        self._turns.reduce_the_rest()
        self._hold(whole=False)
        self._root().backward()
        self._hold(whole=True)

    def _hold(self, *, whole: bool) -> None:
        """Let backward passes leave weights and gradients whole, or in shares; of what is held for a step."""
        for module in self._held:
            module.set_reshard_after_backward(not whole, recurse=False)
            module.set_requires_gradient_sync(not whole, recurse=False)

    def forget_gradients(self) -> None:
        """Drop half-made gradients and whole weights, wherever this rank's passes of a step ended."""
        self._root.reset_iter_state()
        self._turns.forget()
        for one in self._trained():
            one.grad = None

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Let every rank compute with whole weights; between two steps."""
        self.gather()
        try:
            yield
            self._ranks.meet()
        finally:
            self.forget_gradients()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let the writer have the model's weights as they are to be written; between two steps."""
        places = [
            (module, key, one, f"{prefix}.{key}".removeprefix("."))
            for prefix, module in self._model.named_modules()
            for key, one in module.named_parameters(recurse=False)
            if isinstance(one, DTensor)
        ]
        names = {share: name for _, _, share, name in places}  # tied weights have one
        whole = {share: self._whole(share, self._written_in[name]) for share, name in names.items()}
        for module, key, share, _ in places:
            setattr(module, key, whole[share])
        try:
            yield
        finally:
            for module, key, share, _ in places:
                setattr(module, key, share)

    def _whole(self, share: DTensor, dtype: torch.dtype) -> Parameter | DTensor:
        full = cast("DTensor", share.detach()).full_tensor()
        device = torch.device("cpu") if self._full else full.device
        return Parameter(full.to(device, dtype)) if self._ranks.is_writer else share


def mesh_of(ranks: Ranks) -> DeviceMesh:
    """Return all ranks in a row; a world of one gets the process group that it does without otherwise."""
    if not distributed.is_initialized():
        distributed.init_process_group(store=HashStore(), rank=0, world_size=1)
    return init_device_mesh(ranks.device.type, (ranks.world_size,))
