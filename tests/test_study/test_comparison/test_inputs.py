"""What a user types to name variants and seeds."""

import pytest

from mmattn.study.comparison.inputs import default_iou_types, parse_variants


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        'a.json', 'b.json', 'x,y=z.json', 'x/predictions.json', 'y/predictions.json', 'm.bbox.json',
        'm.segm.json',
        *(f'se_{seed}.json' for seed in (1, 2, 10)),
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()


def parsed(*arguments, iou_types=('bbox',)):
    return [(run.variant, run.seed, *run.files.values()) for run in parse_variants(arguments, iou_types)]


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['a.json', 'b.json'], [('a', 0, 'a.json'), ('b', 0, 'b.json')]),
        (['plain=a.json', 'b.json'], [('plain', 0, 'a.json'), ('b', 0, 'b.json')]),
        (['plain=a.json,b.json', 'se=b.json'],
         [('plain', 0, 'a.json'), ('plain', 1, 'b.json'), ('se', 0, 'b.json')]),
        (['a.json', 'se=se_*.json'],
         [('a', 0, 'a.json'), *(('se', s, f'se_{n}.json') for s, n in enumerate((1, 2, 10)))]),
        (['x/predictions.json', 'y/predictions.json'],
         [('x', 0, 'x/predictions.json'), ('y', 0, 'y/predictions.json')]),
        (['x,y=z.json', 'p=x,y=z.json'], [('x,y=z', 0, 'x,y=z.json'), ('p', 0, 'x,y=z.json')]),
        (['a.json', 'missing.json'], [('a', 0, 'a.json'), ('missing', 0, 'missing.json')]),
    ],
)  # fmt: skip
def test_variants_and_seeds(arguments, expected):
    assert parsed(*arguments) == expected


def test_mmdetections_two_files_belong_together():
    both = parsed('m.bbox.json', 'b.json', iou_types=('bbox', 'segm'))
    assert both == [('m', 0, 'm.bbox.json', 'm.segm.json'), ('b', 0, 'b.json', 'b.json')]
    assert parsed('m.segm.json', 'b.json', iou_types=('bbox',))[0] == ('m', 0, 'm.bbox.json')
    assert default_iou_types(['m.segm.json', 'q=m.segm.json']) == ('segm',)
    assert default_iou_types(['m.segm.json', 'b.json']) == ('bbox',)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['a.json'], "one variant, 'a', and it takes two"),
        (['se=a.json', 'se=b.json'], "two variants are called 'se'.*separated by commas"),
        (['a.json', 'se=no*.json'], "no file matches 'no\\*.json'"),
        (['a.json', '=b.json'], "'=b.json' is no variant: give FILE, NAME=FILE"),
        (['a.json', 'se='], "'se=' is no variant"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ValueError, match=message):
        parsed(*arguments)
