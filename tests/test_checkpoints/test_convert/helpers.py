"""Random models to convert, and what conversions of them compute."""

import torch

from tests.reference import resnets


def randomise(model):
    """Give a model random weights and random running statistics that keep its maps near 1."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if name.endswith('running_var'):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.is_floating_point() and value.dim() > 1:
            value.normal_(0, value[0].numel() ** -0.5, generator=generator)
        elif value.is_floating_point():
            value.normal_(0.5 * name.endswith('weight'), 0.3, generator=generator)
    model.eval()  # which MMPretrain's returns nothing from
    return model


def peer(name='se', attention=(resnets.SE,) * 4, blocks=(2, 2, 2, 2), bottleneck=False, between=None):
    """A random ResNet of tests/reference."""
    return randomise(resnets.ResNet(blocks, bottleneck, name, attention, between))


@torch.no_grad()
def stages(model, dtype=torch.float64):
    """The maps of the four stages of an image that is not square."""
    image = torch.randn(2, 3, 65, 97, dtype=dtype, generator=torch.Generator().manual_seed(0))
    model.to(dtype)
    return model(image)
