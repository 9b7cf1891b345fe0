"""Check that a model has the attention that its checkpoint was trained with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmattn.checkpoints.plugins import lost_plugins, plugins_remedy
from mmattn.checkpoints.state import ATTENTION, parts_with_attention, specs_in, state_dict_of
from mmattn.insertion.attention import Attention
from mmattn.insertion.insert_text import insert_text
from mmattn.insertion.spec import SPEC_KEY, decode_spec, differences


def check_insertion(model: nn.Module, checkpoint: Mapping) -> bool:
    """Warn if ``checkpoint`` has attention that ``model`` lacks, and say what to write in the config.

    A model with attention compares its insertion with the checkpoint's by itself, whoever loads it. A
    model without attention cannot, so this function does.

    Args:
        model: A model, wrapped or not.
        checkpoint: A checkpoint as read from its file, or a state dict.

    Returns:
        True if the model lacks no attention of the checkpoint.
    """
    parts = _attention_of(model)
    lost = {
        path: state
        for path, state in specs_in(state_dict_of(checkpoint)).items()
        if not any(_takes(part, attention, path, state) for part, attention in parts.items())
    }
    for path, state in lost.items():
        print_log(
            'THE CHECKPOINT HAS ATTENTION AND THE MODEL HAS NONE: the attention is not loaded, though the '
            f'detector was trained to work with it. {_remedy(path, state)}',
            logger='current',
            level=logging.WARNING,
        )
    plugins = lost_plugins(model, checkpoint)
    for path, written in plugins.items():
        print_log(
            'THE CHECKPOINT HAS ATTENTION THAT WAS PUT THERE BY plugins= AND THE MODEL HAS NONE: it is not '
            f'loaded, though the detector was trained to work with it. {plugins_remedy(path, written)}',
            logger='current',
            level=logging.WARNING,
        )
    return not lost and not plugins


def fill_identity_start(model: nn.Module, checkpoint: Mapping) -> None:
    """Add blocks that start as the identity to a checkpoint that was made without them.

    Loading the checkpoint then leaves them as they are, and MMEngine lists no weights as missing that are
    meant to be; a line says how many blocks there are.

    Args:
        model: A model with attention, or without.
        checkpoint: A checkpoint as read from its file. Its state dict is changed.
    """
    state = checkpoint.get('state_dict', checkpoint)
    known = state_dict_of(checkpoint).keys()
    filled: dict[str, Tensor] = {}
    count = 0
    for path, attention in _attention_of(model).items():
        prefix = f'{path}.attention.'.lstrip('.')
        for name, block in attention.named_blocks():
            own = {f'{prefix}{name}.{key}': value for key, value in block.state_dict().items()}
            if own and _starts_as_identity(block) and not own.keys() & known:
                filled.update(own)
                count += 1
    if not count:
        return
    state.update(filled)
    names = {'.'.join(part for part in key.split('.') if part != 'module') for key in model.state_dict()}
    others = [
        key for key in names - known - filled.keys() if not key.endswith(('num_batches_tracked', SPEC_KEY))
    ]
    blocks = f'{count} blocks start' if count > 1 else '1 block starts'
    print_log(
        f'the checkpoint has no attention: {blocks} as the identity'
        + ('' if others else ', and nothing else is missing'),
        logger='current',
    )


def _starts_as_identity(block: nn.Module) -> bool:
    return getattr(block, 'start', None) == 'identity' or getattr(block, 'paper_is_identity', False)


def _attention_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the attention of each part by the part's path, without the wrappers of DDP and TTA."""
    return {
        '.'.join(name for name in path.split('.') if name != 'module'): model.get_submodule(
            f'{path}.attention'.lstrip('.')
        )
        for path in parts_with_attention(model)
    }


def _takes(part: str, attention: nn.Module, path: str, state: Any) -> bool:
    """Return True if the attention of the checkpoint's part ``path`` is loaded into that of ``part``."""
    if part == path:
        return True
    # Below student. or teacher. a detector has the same sites; a part of a detector has others.
    try:
        sites = {entry['at'] for entry in decode_spec(state)['insert']}
    except ValueError:
        return False
    return f'.{part}'.endswith(f'.{path}' if path else '') and any(
        site.name in sites for site in attention.claims
    )


def require_same_insertion(model: nn.Module, checkpoint: Mapping) -> None:
    """Raise ``ValueError`` unless a run with ``model`` can be resumed from ``checkpoint``.

    With other attention, the state of the optimizer would belong to other parameters; with another
    ``start``, to other gates.
    """
    saved = state_dict_of(checkpoint)
    specs, parts = specs_in(saved), _attention_of(model)
    for path, state in specs.items():
        if not any(_takes(part, attention, path, state) for part, attention in parts.items()):
            raise ValueError(
                'a run cannot be resumed without its attention: the checkpoint has attention, and the model '
                f'has none. {_remedy(path, state)}\nTo train the model without attention from these weights, '
                'use load_from without resume'
            )
    for part, attention in parts.items():
        state = specs.get(part)
        if state is None:
            if not any(key.startswith(f'{part}.{ATTENTION}'.lstrip('.')) for key in saved):
                where = f' in {part}' if part else ''
                raise ValueError(
                    'a run cannot be resumed with attention that it did not have: the checkpoint has none'
                    f'{where}, and the model has {len(attention.claims)} blocks. That is a new start: use '
                    'load_from without resume'
                )
            continue  # an older checkpoint does not say
        theirs = decode_spec(state)
        found = differences(theirs, attention.spec)
        if found:
            raise ValueError(
                f'a run cannot be resumed with other attention: {"; ".join(found)}. To resume it, write\n'
                f'  {insert_text(theirs["insert"])}\nTo train the new attention from these weights, use '
                'load_from without resume'
            )


def _remedy(path: str, state: Any) -> str:
    try:
        spec = decode_spec(state)
    except ValueError as error:
        return f'What to write in the config is unknown: {error}.'
    insert = insert_text(spec['insert'])
    if path:
        return f"The checkpoint was trained with this attention in its part '{path}':\n  {insert}"
    detector = spec.get('detector', '...')
    return (
        'Write in the config, beside the other settings of the model:\n'
        f"  model = dict(type='mmattn.WithAttention', detector={detector!r}, {insert})"
    )


def require_trained_attention(model: nn.Module, checkpoint: Mapping) -> None:
    """Raise ``ValueError`` if the attention that a checkpoint was trained with is not that of the model.

    Args:
        model: A detector with attention of its own, or without.
        checkpoint: A checkpoint as read from its file.
    """
    saved = state_dict_of(checkpoint)
    attention, state = getattr(model, 'attention', None), specs_in(saved).get('')
    remedy = 'Give the config that the checkpoint was trained with'
    if isinstance(attention, Attention) and state is not None:
        found = differences(decode_spec(state), attention.spec)
        if found:
            raise ValueError(f'its attention is not that of the config: {"; ".join(found)}. {remedy}')
    trained = any(key.startswith(ATTENTION) for key in saved)
    if trained != isinstance(attention, Attention):
        raise ValueError(
            f'the checkpoint has {"attention" if trained else "none"}, and the config has '
            f'{"none" if trained else "attention"}. {remedy}'
        )
