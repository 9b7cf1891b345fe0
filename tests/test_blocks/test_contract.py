"""The contract of all blocks in the registry, so that no new block is left out."""

import pytest

from mmattn.blocks.contract import RULES, NotChecked, rules_for
from tests.test_blocks.cases import all_blocks

BLOCKS = all_blocks()
COMPILED = ('SE', 'ECA', 'CBAM')  # whose compiled training the quick tests see
PAPERS = ('https://arxiv.org/abs/', 'https://proceedings.mlr.press/')


def every(*roles):
    """Parametrize a test with all blocks, or with those of the given roles."""
    names = [name for name, block in BLOCKS.items() if not roles or block.role in roles]
    return pytest.mark.parametrize('subject', [BLOCKS[name] for name in names], ids=names)


@pytest.mark.parametrize(
    'subject, rule',
    [
        pytest.param(
            subject,
            rule,
            id=f'{name}-{rule}',
            marks=pytest.mark.slow if rule == 'trains_compiled' and name not in COMPILED else (),
        )
        for name, subject in BLOCKS.items()
        for rule in rules_for(subject)
    ],
)
def test_keeps_the_contract(subject, rule):
    try:
        RULES[rule].keeps(subject)
    except NotChecked as reason:
        pytest.skip(str(reason))


@every()
def test_all_options_are_varied(subject):
    missing = [option for option in subject.own_options() if option not in subject.case.values]
    assert not missing, (
        f'{subject.name} has options that no test varies: {", ".join(missing)}; add values to '
        f'tests/test_blocks/cases.py: {subject.name}=Case(values=dict({missing[0]}=[...]))'
    )


@every()
@pytest.mark.parametrize(
    'kwargs, text',
    [
        (dict(start='random'), r"start='random'; possible: 'paper', 'identity'"),
        (dict(in_channels=0), 'in_channels=0; it must be a positive integer'),
        (dict(init_cfg=dict(type='Xavier')), "say start='paper' or start='identity' instead"),
    ],
)
def test_bad_values_are_refused(subject, kwargs, text):
    with pytest.raises(ValueError, match=text):
        subject(**{'in_channels': 32, **kwargs})


@every()
def test_docstring_names_paper_and_official_code(subject):
    doc = subject.cls.__doc__ or ''
    assert any(paper in doc for paper in PAPERS), f'its docstring must link to the paper: {PAPERS}'
    for needed in ('fficial code', 'Args:', 'Shape:', 'Example:', 'Differences'):
        assert needed in doc, f'its docstring must have {needed!r}'
