"""Take adapters from models and checkpoints, and put them back."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmattn.checkpoints.adapter_file import (
    Adapter,
    WrongBase,
    WrongSpec,
    current_versions,
    read_adapter,
    write_adapter,
)
from mmattn.checkpoints.fingerprint import Fingerprint
from mmattn.checkpoints.read import read_checkpoint
from mmattn.checkpoints.state import ATTENTION, parts_with_attention, specs_in, split_state, state_dict_of
from mmattn.checkpoints.trust import refuse_code
from mmattn.files import write_file
from mmattn.insertion.attach_detach import attach, detach
from mmattn.insertion.spec import SPEC_KEY, check_recorded, decode_spec, differences, encode_spec, rules_of
from mmattn.version import __version__


def adapter_of(model: nn.Module) -> Adapter:
    """Return the attention of ``model``, with the fingerprint of its other weights.

    Raises:
        ValueError: The model has no attention, or attention that cannot be recorded.
    """
    model = _unwrap(model)
    parts = parts_with_attention(model)
    if '' not in parts:
        raise ValueError(
            f'{type(model).__name__} has no attention to save'
            + (f"; its part '{parts[0]}' has attention: pass that part instead" if parts else '')
        )
    check_recorded(model.attention.spec)
    base, weights = split_state(model.state_dict())
    return Adapter(model.attention.spec, weights, Fingerprint.of(base), current_versions())


def save_adapter(model: nn.Module, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Save the attention of ``model`` alone, as an adapter.

    Args:
        model: A model with attention.
        path: Path of the file, ``*.safetensors``.
        overwrite: Replace an existing file.
    """
    write_adapter(adapter_of(model), path, overwrite)


def load_adapter(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Put the attention of an adapter into ``model``, in place.

    If this raises an error, the model stays as it was.

    Args:
        model: The detector that the adapter was trained on, with its weights loaded. If it has no
            attention, the adapter's is attached; if it has, the insertion must be that of the adapter.
        path: Path of the adapter.

    Returns:
        ``model``.

    Raises:
        WrongBase: The detector's weights are not those that the adapter was trained on.
        WrongSpec: The model has another insertion, or this version builds its blocks differently.
        DamagedAdapter: The file was changed, or is no adapter.
        NewerAdapter: A later version of mmattn wrote the file.
    """
    adapter, whole = read_adapter(path), model
    model = _unwrap(model)
    own = '' in parts_with_attention(model)
    if own:
        found = differences(adapter.spec, model.attention.spec, 'the adapter')
        if found:
            raise WrongSpec(
                f"the adapter '{path}' and the model have different attention: {'; '.join(found)}. Load "
                "the adapter into the detector without attention, which then gets the adapter's"
            )
    adapter.require_base(Fingerprint.of(split_state(model.state_dict())[0]), 'the model')
    if not own:
        with refuse_code():  # a block's options may name a checkpoint
            attach(model, rules_of(adapter.spec))
    expected = split_state(model.state_dict())[1]
    if {name: value.shape for name, value in expected.items()} != {
        name: value.shape for name, value in adapter.weights.items()
    }:
        if not own:
            detach(model)
        raise WrongSpec(
            f"the weights in '{path}' do not fit the blocks that its spec describes, as mmattn {__version__} "
            f'builds them; it was written with {_listed(adapter.versions)}'
        )
    model.attention.load_state_dict(
        {name.removeprefix(ATTENTION): value for name, value in adapter.weights.items()}
    )
    return whole


def adapter_of_checkpoint(checkpoint: Mapping, base: Mapping | None = None) -> Adapter:
    """Return the attention in the checkpoint of a detector with attention, as an adapter.

    Args:
        checkpoint: The checkpoint, as read from its file.
        base: The checkpoint that its training started from. Without it, the detector is assumed not to
            have changed since.

    Raises:
        ValueError: The checkpoint has no attention, or no spec.
        WrongBase: Its detector is not that of ``base``.
    """
    state = state_dict_of(checkpoint)
    own, weights = split_state(state)
    if not weights:
        raise ValueError('the checkpoint has no attention to save (no attention.* in its state_dict)')
    if '' not in specs_in(state):
        raise ValueError(
            'the checkpoint has attention.*, but no insertion spec: load it into its model, '
            'and call save_adapter()'
        )
    spec = decode_spec(specs_in(state)[''])
    check_recorded(spec)
    adapter = Adapter(spec, weights, Fingerprint.of(own), current_versions())
    if base is not None:
        text = Fingerprint.of(_base_state(base)).differences(adapter.base)
        if text:
            raise WrongBase(
                "the checkpoint's detector differs from the base, so not only attention was trained: "
                f'{text}. Train an adapter with freeze_detector=True'
            )
    return adapter


def merge_adapter(
    base: str,
    adapter: str | os.PathLike,
    out: str | os.PathLike,
    overwrite: bool = False,
    trust_checkpoint: bool = False,
) -> None:
    """Write a checkpoint of the detector with its attention, for ``load_from`` and for testing.

    Args:
        base: Checkpoint of the detector that the adapter was trained on: a path or URL that MMEngine
            loads. Its ``meta`` is kept, but not the state of its optimizer, which knows no attention.
        adapter: Path of the adapter.
        out: Path of the new checkpoint, ``*.pth``.
        overwrite: Replace an existing file.
        trust_checkpoint: Let ``base`` run code, see :func:`~mmattn.checkpoints.refuse_code`.
    """
    taken = read_adapter(adapter)
    checkpoint = read_checkpoint(base, trust_checkpoint=trust_checkpoint)
    state = state_dict_of(checkpoint)
    if specs_in(state) or split_state(state)[1]:
        raise WrongBase(
            f"'{base}' has attention already; merge the adapter with a checkpoint of the detector without it"
        )
    taken.require_base(Fingerprint.of(split_state(state)[0]), f"'{base}'")
    merged = dict(
        meta=checkpoint.get('meta', {}) if 'state_dict' in checkpoint else {},
        state_dict={**state, ATTENTION + SPEC_KEY: encode_spec(taken.spec), **taken.weights},
    )
    write_file(out, lambda file: torch.save(merged, file), overwrite)


def check_base(base: str, adapter: str | os.PathLike, trust_checkpoint: bool = False) -> None:
    """Raise :class:`WrongBase` unless ``adapter`` was trained on the checkpoint ``base``."""
    taken = read_adapter(adapter)
    state = _base_state(read_checkpoint(base, trust_checkpoint=trust_checkpoint))
    taken.require_base(Fingerprint.of(state), f"'{base}'")


def _base_state(checkpoint: Mapping) -> dict[str, Tensor]:
    return split_state(state_dict_of(checkpoint))[0]


def _listed(versions: Mapping[str, str]) -> str:
    return ', '.join(f'{name} {number}' for name, number in versions.items())


def _unwrap(model: nn.Module) -> nn.Module:
    while is_model_wrapper(model):
        model = model.module
    return model
