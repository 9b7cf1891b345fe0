"""Fingerprint weights: tell whether two sets of tensors are the same to the last bit, and how they differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fingerprint:
    """Digests of a set of tensors.

    Attributes:
        sha256: Hash of all tensors: names in alphabetical order, with type, shape and bytes of each.
        tensors: Type, shape and first digits of the digest of each tensor, by name. They tell what differs.
    """

    sha256: str
    tensors: dict[str, str] = field(hash=False)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Fingerprint:
        """Return the fingerprint of the tensors in ``state``."""
        every, tensors = hashlib.sha256(), {}
        for name in sorted(state):
            value = state[name].detach()
            dtype_and_shape = (
                f'{str(value.dtype).removeprefix("torch.")} {"x".join(map(str, value.shape)) or "-"}'
            )
            data = value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            digest = hashlib.sha256(data).hexdigest()
            every.update(f'{name} {dtype_and_shape} {digest}\n'.encode())
            tensors[name] = f'{dtype_and_shape} {digest[:12]}'
        return cls(every.hexdigest(), tensors)

    def differences(self, found: Fingerprint) -> str:
        """Say how ``found`` differs from this fingerprint; empty if they are the same."""
        if self.sha256 == found.sha256:
            return ''
        mine, others = self.tensors, found.tensors
        parts = []
        for names, text in (
            ([n for n in mine if n not in others], 'missing'),
            ([n for n in others if n not in mine], 'unexpected'),
        ):
            if names:
                parts.append(f'{_count(names)} {text} ({_first(names)})')
        shared = [n for n in mine if n in others]
        differing = [n for n in shared if _dtype_and_shape(mine[n]) != _dtype_and_shape(others[n])]
        if differing:
            first = differing[0]
            parts.append(
                f'{_count(differing)} of another type or shape ({first}: {_dtype_and_shape(others[first])} '
                f'instead of {_dtype_and_shape(mine[first])}{", ..." * (len(differing) > 1)})'
            )
        values = [n for n in shared if n not in differing and mine[n] != others[n]]
        if values:
            parts.append(f'{len(values)} of {len(mine)} tensors with other values ({_first(values)})')
        return '; '.join(parts) or 'other values'


def _dtype_and_shape(text: str) -> str:
    return text.rpartition(' ')[0]


def _count(names: list[str]) -> str:
    return f'{len(names)} tensor{"s" * (len(names) > 1)}'


def _first(names: list[str]) -> str:
    return ', '.join(names[:3]) + ', ...' * (len(names) > 3)
