"""Parts of a detector by which its sites are gathered."""


def stage_of(path: str) -> str:
    """The stage of the backbone in which a module or site lies; of the neck and the heads, they as wholes.

    Example:
        >>> stage_of('backbone.layer2.0.residual'), stage_of('neck.fpn_convs.0')
        ('backbone.layer2', 'neck')
    """
    parts = path.split('.')
    return '.'.join(parts[:2]) if parts[0] == 'backbone' else parts[0]
