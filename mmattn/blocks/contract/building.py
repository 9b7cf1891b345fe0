"""Rules on how a block is built."""

from __future__ import annotations

import inspect

from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.contract.rules import rule
from mmattn.blocks.contract.subject import Subject


@rule()
def can_be_built(subject: Subject) -> None:
    """It can be built with the number of channels alone, or with the options that are given."""
    assert subject.problem is None, (
        f'{subject.name}(32) cannot be built: {subject.problem!r}; give its options without a default'
    )


@rule()
def has_the_signature(subject: Subject) -> None:
    """The first argument is in_channels, there is an option start='paper', and a name for plugins=."""
    parameters = inspect.signature(subject.cls).parameters
    assert next(iter(parameters)) == 'in_channels', 'the first argument must be in_channels'
    assert 'start' in parameters and parameters['start'].default == 'paper', (
        "it must have an option start='paper'"
    )
    assert issubclass(subject.cls, AttentionBlock), 'it must be a subclass of mmattn.blocks.AttentionBlock'
    assert isinstance(getattr(subject.cls, '_abbr_', None), str), (
        "it must have _abbr_, its name in MMDetection's plugins="
    )


@rule()
def refuses_bad_values(subject: Subject) -> None:
    """An unknown start, no channels and an init_cfg are refused."""
    for wrong in (dict(start='random'), dict(in_channels=0), dict(init_cfg=dict(type='Xavier'))):
        try:
            subject(**{'in_channels': 32, **wrong})
        except ValueError as error:
            assert next(iter(wrong)) in str(error), f'the error for {wrong} must name it: {error}'
        else:
            raise AssertionError(f'{wrong} is taken: hand start and init_cfg to super().__init__')
