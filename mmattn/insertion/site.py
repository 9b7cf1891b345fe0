"""The value `Site`: one place in a model where a block can stand, and the constants that describe it."""

from __future__ import annotations

from dataclasses import dataclass, field

OUTPUT, INPUT, ELEMENT, RESIDUAL = 'output', 'input', 'element', 'residual'
"""Positions: a block follows the host, precedes it, follows one of its maps, or ends a residual branch."""
CONV, MODULE = 'conv', 'module'
PARTS = (RESIDUAL, 'stage', 'lateral', 'topdown', 'output', CONV, MODULE)
"""Parts of the architecture to which a site can belong."""


@dataclass(frozen=True)
class Site:
    """A place for a block.

    Attributes:
        name: The name that a rule's ``at`` matches: the dotted path of the host, or a virtual name.
        path: The dotted path of the host.
        part: ``'residual'`` (the end of a residual branch, before the addition), ``'stage'`` (the end
            of a backbone's stage), ``'lateral'``, ``'topdown'``, ``'output'`` (of a neck), ``'conv'``
            or ``'module'``.
        channels: Number of channels of the map.
        position: How a block is put there: on the host's output, its input, one map (element) of its
            tuple of maps, or within a residual block.
        index: Index of the map in the host's tuple; ``None`` except at an element.
        size: Height and width of the map; ``None`` if the model could not be run on fake tensors.
        stride: Image pixels per map pixel; ``None`` if the size is unknown.
        end: Child of a residual block whose output is added to the identity, and which the block follows;
            ``None`` where the host itself is told of the block.
        aliases: Other names of the site. A name that several sites share stands for all of them.
    """

    name: str
    path: str
    part: str
    channels: int
    position: str = OUTPUT
    index: int | None = None
    size: tuple[int, int] | None = field(default=None, compare=False)
    stride: int | None = field(default=None, compare=False)
    aliases: tuple[str, ...] = field(default=(), compare=False)
    end: str | None = None

    @property
    def key(self) -> str:
        """Name of the block in ``model.attention``."""
        return self.name.replace('.', '_')


def stage_of(path: str) -> str:
    """Return the backbone stage that contains ``path``, or the top-level part outside a backbone.

    Example:
        >>> stage_of('backbone.layer2.0.residual'), stage_of('neck.fpn_convs.0')
        ('backbone.layer2', 'neck')
    """
    parts = path.split('.')
    return '.'.join(parts[:2]) if parts[0] == 'backbone' else parts[0]
