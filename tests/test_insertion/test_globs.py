import pytest

from mmattn.insertion.globs import glob_match, nearest_names


@pytest.mark.parametrize(
    'pattern, name, expected',
    [
        ('a.b', 'a.b', True),
        ('a.b', 'a.b.c', False),
        ('a.*', 'a.b', True),
        ('a.*', 'a.b.c', False),
        ('a.*', 'a', False),
        ('a.**', 'a.b.c', True),
        ('a.**', 'a', True),
        ('**.c', 'a.b.c', True),
        ('**.c', 'c', True),
        ('**.c', 'a.bc', False),
        ('a.**.d', 'a.b.c.d', True),
        ('a.**.d', 'a.d', True),
        ('layer[2-4].*', 'layer3.0', True),
        ('layer[2-4].*', 'layer1.0', False),
        ('layer[!1].*', 'layer1.0', False),
        ('layer?', 'layer10', False),
        ('conv*', 'convs', True),
        ('Layer', 'layer', False),
    ],
)
def test_a_glob_matches_segment_by_segment(pattern, name, expected):
    assert glob_match(pattern, name) is expected


NAMES = [
    'backbone',
    'backbone.layer3',
    'backbone.layer4',
    'backbone.layer4.0',
    'neck',
    'neck.fpn_convs',
    'neck.fpn_convs.0',
]


@pytest.mark.parametrize(
    'pattern, expected',
    [
        ('backbone.layer5.*', ['backbone.layer4', 'backbone.layer3']),
        ('backbon.layer4', ['backbone']),
        ('neck.fpn_conv.*', ['neck.fpn_convs']),
        ('neck.fpn_convs.7', ['neck.fpn_convs.0']),
    ],
)
def test_the_nearest_names_are_offered(pattern, expected):
    assert nearest_names(pattern, NAMES)[: len(expected)] == expected
