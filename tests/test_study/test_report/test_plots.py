"""Plots show the numbers that they are given, each variant in one colour."""

import math
from types import SimpleNamespace

from mmattn.study.comparison import Estimate, MistakeChange
from mmattn.study.evaluation import MISTAKES
from mmattn.study.report.plots import colours, plot_gain_and_cost, plot_mistakes

COLOUR = colours(['se', 'plain', 'eca'], 'plain')


def changes(values):
    """A change of each type for each variant; ``values`` gives difference, low and high of some."""
    none = Estimate(*[math.nan] * 5)
    return [
        MistakeChange(
            'bbox',
            variant,
            mistake,
            Estimate(0.1, 0.1, *values.get((variant, mistake), (0.0, -0.01, 0.01))),
            none,
        )
        for variant in ('se', 'eca')
        for mistake in MISTAKES
    ]


def drawn(axes):
    """The points and intervals of a panel: row, colour, and where it lies."""
    lines = [line for line in axes.get_lines() if line.get_color() != '#888']
    return {(line.get_ydata()[0], line.get_color(), *map(float, line.get_xdata())) for line in lines}


def test_each_variant_has_a_colour_and_the_control_none():
    assert len(set(COLOUR.values())) == 3 and list(COLOUR) == ['plain', 'se', 'eca']
    assert COLOUR == colours(['plain', 'se', 'eca'], 'plain')


def test_mistakes_are_plotted_in_points_with_their_intervals():
    given = {('se', 'missed'): (-0.02, -0.03, -0.01), ('eca', 'missed'): (0.005, math.nan, math.nan)}
    figure = plot_mistakes(changes(given), COLOUR)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == list(MISTAKES)
    se, eca = COLOUR['se'], COLOUR['eca']
    assert drawn(panels['missed']) == {
        (0, se, -2.0),
        (0, se, -3.0, -1.0),
        (1, eca, 0.5),  # no interval is known
    }
    assert drawn(panels['both']) == {(0, se, 0.0), (0, se, -1.0, 1.0), (1, eca, 0.0), (1, eca, -1.0, 1.0)}
    assert [label.get_text() for label in panels['classification'].get_yticklabels()] == ['se', 'eca']
    assert len({axes.get_xlim() for axes in panels.values()}) == 1  # the types can be compared


def test_a_change_that_is_unknown_is_left_out():
    figure = plot_mistakes(changes({('se', 'duplicate'): (math.nan,) * 3}), COLOUR)
    panel = next(axes for axes in figure.axes if axes.get_title() == 'duplicate')
    assert {row for row, *_ in drawn(panel)} == {1}


def test_gain_is_plotted_against_cost():
    def compared(variant, *values):
        return SimpleNamespace(variant=variant, **dict(zip(('difference', 'low', 'high'), values)))

    costs = [dict(model='plain', ratio=1.0), dict(model='se', ratio=1.25), dict(model='eca', ratio=1.25)]
    found = [compared('se', 0.01, -0.02, 0.03), compared('eca', math.nan, math.nan, math.nan)]
    (axes,) = plot_gain_and_cost(found, costs, 'ratio', 'time', COLOUR).axes
    lines = [line for line in axes.get_lines() if line.get_color() == COLOUR['se']]
    assert [list(line.get_xdata()) for line in lines] == [[1.25, 1.25], [1.25]]
    assert [list(line.get_ydata()) for line in lines] == [[-2.0, 3.0], [1.0]]
    assert axes.get_legend_handles_labels()[1] == ['se', 'control']  # nothing is known of the other
    low, high = axes.get_xlim()
    assert low < 1 and high > 1.25
    low, high = axes.get_ylim()
    assert low < -2 and high > 3
