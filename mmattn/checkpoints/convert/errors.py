"""What is raised where a checkpoint cannot be converted."""


class NotConverted(ValueError):
    """A checkpoint cannot be converted as asked."""


class NotMappable(NotConverted):
    """MMDetection's ResNet cannot compute what the source model computes."""
