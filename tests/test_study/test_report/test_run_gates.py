"""The gates that are shown are those of the checkpoint that a run has left."""

import re
import shutil

import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector

from mmattn.study.plan import Run
from mmattn.study.report.run_gates import NoGates, RunGates
from mmattn.visualization import Inspector
from tests.test_blocks.helpers import randomise


@pytest.fixture
def run_of(detectors, tmp_path):
    """Make the folder of a run of one of the small detectors, with random attention."""

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(detectors / f'{name}.py', folder / 'config.py')
        model = init_detector(str(folder / 'config.py'), str(detectors / f'{name}.pth'), device='cpu')
        if hasattr(model, 'attention'):
            randomise(model.attention)
        torch.save(
            dict(state_dict=model.state_dict(), meta=dict(dataset_meta=model.dataset_meta)),
            folder / 'epoch_2.pth',
        )
        (folder / 'last_checkpoint').write_text('/another/machine/epoch_2.pth')  # the study was moved
        return Run(name, 0, folder), model

    return make


def factors(model, image):
    """What the blocks of a detector multiply by on an image, from their inputs and outputs, by site."""
    found = {}

    def hook(name):
        def keep(module, args, output):
            x, y = args[0].double(), output.double()
            found[name] = torch.where(x.abs() > 1e-3, y / x, torch.nan)[0].numpy()

        return keep

    handles = [block.register_forward_hook(hook(site.name)) for site, _, block in model.attention.blocks()]
    inference_detector(model, image)
    for handle in handles:
        handle.remove()
    return found


def numbers_in(caption):
    return [float(number) for number in re.findall(r'\d+\.\d{3}', caption)]


def test_channel_gates_are_those_of_the_checkpoint(run_of, squares):
    run, model = run_of('other')
    image = str(squares / 'images/val_3.png')
    caption, drawn = RunGates(run).draw(image, 'val_3.png')
    gates = [np.nanmedian(factor, axis=(1, 2)) for factor in factors(model, image).values()]
    gates = np.concatenate(gates)
    assert caption.startswith('channel gates, 8 sites')
    assert numbers_in(caption) == pytest.approx([np.nanmin(gates), np.nanmax(gates)], abs=2e-3)
    assert drawn.ndim == 3 and drawn.shape[0] == drawn.shape[1]  # as the image


def test_the_site_is_that_whose_gates_are_most_uneven(run_of, squares):
    run, model = run_of('detector')
    image = str(squares / 'images/val_3.png')
    caption, drawn = RunGates(run).draw(image, 'val_3.png')
    shares = {}
    inspection = Inspector(str(run.folder / 'config.py'), str(run.folder / 'epoch_2.pth')).inspect(image, '')
    for site in inspection.overlaid_sites:
        (floor, ceiling), values = site.spatial_range, site.spatial
        shares[site.name] = (values.max() - values.min()) / (ceiling - floor)
    name = re.search(r'gates at (\S+):', caption)[1]
    assert shares[name] == max(shares.values()) > min(shares.values())
    # CBAM multiplies by a gate of each channel and one of each position: their ratios tell the latter
    factor = factors(model, image)[name]
    positions = np.nanmedian(factor / factor[:, :1, :1], axis=0)
    low, high = numbers_in(caption)
    assert high / low == pytest.approx(np.nanmax(positions) / np.nanmin(positions), rel=0.02)
    assert drawn.shape[0] == drawn.shape[1] and len(np.unique(drawn)) > 50


@pytest.mark.parametrize(
    'name, spoil, why',
    [
        ('other', lambda folder: (folder / 'epoch_2.pth').unlink(), r'the checkpoint \S+epoch_2.pth is gone'),
        ('other', lambda folder: (folder / 'last_checkpoint').unlink(), 'there is no checkpoint in'),
        ('other', lambda folder: (folder / 'epoch_2.pth').write_text('no'), r'epoch_2.pth cannot be used'),
        ('stock', lambda folder: None, 'stock has none: no attention'),
    ],
)
def test_why_there_are_none_is_said(name, spoil, why, run_of):
    run, _ = run_of(name)
    spoil(run.folder)
    with pytest.raises(NoGates, match=why):
        RunGates(run)
