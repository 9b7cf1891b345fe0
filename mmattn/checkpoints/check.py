"""Check that a model has the attention that its checkpoint was trained with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from torch import nn

from mmattn.checkpoints.state import ATTENTION, parts_with_attention, specs_in, state_dict_of
from mmattn.insertion.insert_text import insert_text
from mmattn.insertion.spec import decode_spec, differences


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
    return not lost


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
