"""A checkpoint with attention, and a model without."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mmengine.logging import print_log
from torch import nn

from mmattn.checkpoints.state import parts_with_attention, specs_in, state_dict_of
from mmattn.insertion.insert_text import insert_text
from mmattn.insertion.spec import decode_spec, differences


def check_insertion(model: nn.Module, checkpoint: Mapping) -> bool:
    """Warn where ``checkpoint`` has attention that ``model`` lacks, and say what to write.

    A model that has attention compares its insertion with that of the checkpoint by itself, whoever
    loads it. One that has none cannot, which is what this is for.

    Args:
        model: A model, wrapped or not.
        checkpoint: As read from a file, or a state dict.

    Returns:
        Whether all is well.
    """
    parts = _attention_of(model)
    lost = {
        path: state
        for path, state in specs_in(state_dict_of(checkpoint)).items()
        if not any(_takes(part, attention, path, state) for part, attention in parts.items())
    }
    for path, state in lost.items():
        print_log(
            'THE CHECKPOINT HAS ATTENTION AND THE MODEL HAS NONE: what it learned is left out, and the '
            f'detector was not trained to work without it. {_remedy(path, state)}',
            logger='current',
            level=logging.WARNING,
        )
    return not lost


def _attention_of(model: nn.Module) -> dict[str, nn.Module]:
    """The attention of each part by the part's path, without what wraps it: DDP, test-time augmentation."""
    return {
        '.'.join(name for name in path.split('.') if name != 'module'): model.get_submodule(
            f'{path}.attention'.lstrip('.')
        )
        for path in parts_with_attention(model)
    }


def _takes(part: str, attention: nn.Module, path: str, state) -> bool:
    """Whether the attention in ``part`` is where that of the checkpoint's part ``path`` is loaded."""
    if part == path:
        return True
    # Below student. and teacher., a detector has the same sites; a part of it, as its backbone, has others.
    try:
        sites = {entry['at'] for entry in decode_spec(state)['insert']}
    except ValueError:
        return False
    return f'.{part}'.endswith(f'.{path}' if path else '') and any(
        site.name in sites for site in attention.claims
    )


def require_same_insertion(model: nn.Module, checkpoint: Mapping) -> None:
    """Raise ``ValueError`` unless a run with ``model`` can go on from ``checkpoint``.

    The optimizer's state would be for other parameters, or, with another ``start``, for other gates.
    """
    specs = specs_in(state_dict_of(checkpoint))
    for part, attention in _attention_of(model).items():
        state = specs.get(part)
        if state is None:
            continue  # an older checkpoint does not say
        theirs = decode_spec(state)
        found = differences(theirs, attention.spec)
        if found:
            raise ValueError(
                f'a run cannot be resumed with another attention: {"; ".join(found)}. To go on, write\n'
                f'  {insert_text(theirs["insert"])}\nTo train the new attention from these weights, use '
                'load_from without resume'
            )


def _remedy(path: str, state) -> str:
    try:
        spec = decode_spec(state)
    except ValueError as error:
        return f'What to write in the config is not known: {error}.'
    insert = insert_text(spec['insert'])
    if path:
        return f"It was trained with this attention in its part '{path}':\n  {insert}"
    detector = spec.get('detector', '...')
    return (
        'Write in the config, beside the other settings of the model:\n'
        f"  model = dict(type='mmattn.WithAttention', detector={detector!r}, {insert})"
    )
