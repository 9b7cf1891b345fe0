"""Check that a run can be resumed with the optimizer that its checkpoint was saved with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from mmattn.checkpoints.state import RESUME_RECORD, state_dict_of
from mmattn.insertion.glob_names import names_to_globs

_NEW_START = 'To start a new training from its weights, use load_from without resume'

# Settings that say how an optimizer computes, not what, and one that newer versions of PyTorch add.
_NOT_TOLD = {'foreach', 'fused', 'capturable', 'differentiable', 'maximize', 'decoupled_weight_decay'}


def require_same_optimizer(model: nn.Module, optimizer: Optimizer, checkpoint: Mapping) -> None:
    """Raise ``ValueError`` unless a run with ``model`` and ``optimizer`` can be resumed from ``checkpoint``.

    PyTorch itself compares the numbers of parameters alone, and takes over the settings of another optimizer.
    """
    saved = checkpoint.get('optimizer')
    if not isinstance(saved, Mapping) or 'param_groups' not in saved:
        return  # nothing that MMEngine would load
    groups, ours = saved['param_groups'], type(optimizer).__name__
    theirs = (checkpoint.get(RESUME_RECORD) or {}).get('optimizer')
    settings = {key for group in groups for key in group}
    if (theirs or ours) != ours or not optimizer.defaults.keys() - _NOT_TOLD <= settings:
        theirs = theirs or f'one with {", ".join(sorted(settings - _NOT_TOLD - {"params", "initial_lr"}))}'
        raise ValueError(
            f'a run cannot be resumed with another optimizer: the checkpoint has the state of {theirs}, and '
            f'the config builds {ours}. To resume it, write the optimizer of the checkpoint. {_NEW_START}'
        )
    if [len(group['params']) for group in groups] != [
        len(group['params']) for group in optimizer.param_groups
    ]:
        raise ValueError(
            'a run cannot be resumed with other parameters: the optimizer of the checkpoint has '
            f'{_counts(groups)}, and here it has {_counts(optimizer.param_groups)}. '
            f'{_changed_weights(model, checkpoint)}. {_NEW_START}'
        )
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    for number, parameter in zip([number for group in groups for number in group['params']], parameters):
        for value in saved['state'].get(number, {}).values():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(
                    f'a run cannot be resumed with other parameters: number {number} of the optimizer has '
                    f'the shape {tuple(value.shape)} in the checkpoint and {tuple(parameter.shape)} here. '
                    f'{_changed_weights(model, checkpoint)}. {_NEW_START}'
                )


def _counts(groups: Sequence[Mapping]) -> str:
    number = sum(len(group['params']) for group in groups)
    return f'{number} parameters in {len(groups)} group{"s" * (len(groups) > 1)}'


def _changed_weights(model: nn.Module, checkpoint: Mapping) -> str:
    """Say which weights were added and removed, as far as their names tell."""
    model = model.module if is_model_wrapper(model) else model
    saved = state_dict_of(checkpoint).keys()
    changes = (
        ('the model has new', {name for name, _ in model.named_parameters()} - saved),
        ('the model lacks', saved - model.state_dict().keys()),
    )
    parts = []
    for what, names in changes:
        if names:
            globs = names_to_globs(sorted(names))
            parts.append(f'{what} {len(names)} weights ({", ".join(globs[:3])}{", ..." * (len(globs) > 3)})')
    if not parts:
        return 'The weights are the same, so paramwise_cfg, or what is frozen, was changed'
    text = ' and '.join(parts)
    return text[0].upper() + text[1:]
