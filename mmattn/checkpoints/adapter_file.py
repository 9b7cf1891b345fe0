"""Read and write adapters: attention's weights in safetensors, with a record of where they belong."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmattn import _compat
from mmattn.checkpoints.fingerprint import Fingerprint
from mmattn.files import write_file
from mmattn.insertion.spec import dump_spec, load_spec
from mmattn.version import __version__

FORMAT = 1
"""Format number of adapters; a reader refuses a higher one."""

# A single entry: safetensors writes several in an order that changes from process to process.
_METADATA = 'mmattn_adapter'


class AdapterError(ValueError):
    """An adapter cannot be used as asked."""


class WrongBase(AdapterError):
    """The detector's weights are not those that the adapter was trained on."""


class WrongSpec(AdapterError):
    """The model has other attention than the adapter."""


class DamagedAdapter(AdapterError):
    """The file was changed after it was written, or is no adapter."""


class NewerAdapter(AdapterError):
    """A later version of mmattn wrote the file."""


@dataclass(frozen=True)
class Adapter:
    """The attention of a detector, without the detector.

    Attributes:
        spec: The insertion as data: the sites, and the config of each block.
        weights: The tensors under ``attention.``, by their names in the detector's state dict.
        base: Fingerprint of all other weights of the detector.
        versions: Versions of the packages that wrote it.
    """

    spec: dict[str, Any]
    weights: dict[str, Tensor] = field(repr=False)
    base: Fingerprint = field(repr=False)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def numel(self) -> int:
        """Number of its values: parameters, and statistics of norms."""
        return sum(value.numel() for value in self.weights.values() if value.is_floating_point())

    def require_base(self, found: Fingerprint, where: str) -> None:
        """Raise :class:`WrongBase` unless ``found`` is the base."""
        text = self.base.differences(found)
        if text:
            raise WrongBase(
                f'the weights of {where} are not those that the adapter was trained on (sha256 '
                f'{found.sha256[:12]} instead of {self.base.sha256[:12]}): {text}. An adapter fits one '
                'detector only: load the checkpoint that it was trained on first'
            )


def current_versions() -> dict[str, str]:
    """Return the versions of mmattn, PyTorch and the OpenMMLab packages in use."""
    found = dict(mmattn=__version__, torch=torch.__version__)
    for module in ('mmengine', 'mmcv', 'mmdet'):
        found.update(_compat.installed(module))
    return found


def _seal(spec: Mapping, weights: Fingerprint, base: Fingerprint) -> str:
    return hashlib.sha256('\n'.join((dump_spec(spec), weights.sha256, base.sha256)).encode()).hexdigest()


def write_adapter(adapter: Adapter, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Write an adapter to a file. The same adapter always gives the same bytes."""
    from safetensors.torch import save

    weights = {name: value.detach().cpu().contiguous().clone() for name, value in adapter.weights.items()}
    print_of = Fingerprint.of(weights)
    metadata = dict(
        format=FORMAT,
        spec=adapter.spec,
        versions=adapter.versions,
        seal=_seal(adapter.spec, print_of, adapter.base),
        weights=print_of.tensors,
        base=dict(sha256=adapter.base.sha256, tensors=adapter.base.tensors),
    )
    data = save(weights, {_METADATA: json.dumps(metadata, separators=(',', ':'))})
    write_file(path, data, overwrite)


def read_adapter(path: str | os.PathLike) -> Adapter:
    """Read an adapter, and check that it is complete and unchanged.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedAdapter: The file is cut off or changed, or is no adapter.
        NewerAdapter: The file has a format that this version does not know.
    """
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no adapter file '{path}'")
    try:
        with safe_open(path, 'pt') as file:
            text = (file.metadata() or {}).get(_METADATA)
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise DamagedAdapter(f"'{path}' is damaged, or not a safetensors file: {error}") from error
    if text is None:
        raise DamagedAdapter(
            f"'{path}' is a safetensors file, but not an adapter: its metadata has no entry '{_METADATA}'"
        )
    try:
        metadata = json.loads(text)
        number = metadata['format']
        if isinstance(number, int) and number > FORMAT:
            raise NewerAdapter(
                f"'{path}' has adapter format {number}, but mmattn {__version__} reads formats up to "
                f'{FORMAT}: update mmattn'
            )
        base = Fingerprint(metadata['base']['sha256'], dict(metadata['base']['tensors']))
        expected, seal, versions = metadata['weights'], metadata['seal'], dict(metadata['versions'])
        spec = load_spec(json.dumps(metadata['spec']))
    except NewerAdapter:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedAdapter(f"'{path}' is damaged: its metadata cannot be read ({error})") from error
    found = Fingerprint.of(weights)
    if found.tensors != expected:
        text = Fingerprint('', expected).differences(found)
        raise DamagedAdapter(f"'{path}' is damaged: it does not hold the weights that were saved: {text}")
    if seal != _seal(spec, found, base):
        raise DamagedAdapter(
            f"'{path}' is damaged: its spec or the fingerprint of its base was changed after it was saved"
        )
    broken = [
        name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()
    ]
    if broken:
        raise DamagedAdapter(
            f"'{path}' holds NaN or infinite values, the first in {broken[0]}: the training that it comes "
            'from diverged'
        )
    return Adapter(spec, weights, base, versions)
