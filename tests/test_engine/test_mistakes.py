"""Which errors are a user's mistake, and what is said of them."""

import pytest
from mmengine.runner import BaseLoop

from mmattn.engine.mistakes import mark_mistake, mistake_text, user_input


def raised(error, *args, **kwargs):
    """Raise ``error`` where the user's input is read; return what comes out."""
    with pytest.raises(type(error)) as found, user_input(*args, **kwargs):
        raise error
    return found.value


def test_the_error_itself_goes_on():
    error = ValueError('no such block')
    assert raised(error) is error
    assert mistake_text(error) == 'no such block'


@pytest.mark.parametrize(
    'error, what, text',
    [
        (ValueError('depth is 19'), '', 'depth is 19'),
        (ValueError('depth is 19'), 'no model', 'no model: ValueError: depth is 19'),
        (KeyError('no such block'), '', 'no such block'),  # without the quotes of str()
        (KeyError('model'), '', 'KeyError: model'),  # a lone word says nothing by itself
        (EOFError(), 'a.pth', 'a.pth: EOFError: '),
    ],
)
def test_the_text_says_what_was_asked_and_what_was_found(error, what, text):
    assert mistake_text(mark_mistake(error, what)) == text


def test_the_innermost_text_stays():
    with pytest.raises(ValueError) as found, user_input('no model'), user_input('no config'):
        raise ValueError('line 3')
    assert mistake_text(found.value) == 'no config: ValueError: line 3'


def test_an_unmarked_error_has_no_text():
    assert mistake_text(ValueError('a')) is None


@pytest.mark.parametrize('error', [ZeroDivisionError('division by zero'), AttributeError('a has no b')])
def test_other_classes_are_failures(error):
    assert mistake_text(raised(error)) is None


def test_classes_can_be_chosen():
    assert mistake_text(raised(ValueError('a b'), errors=(OSError,))) is None
    assert mistake_text(raised(OSError('a b'), errors=(OSError,))) == 'a b'
    assert mistake_text(raised(FileExistsError('a b'), errors=(OSError,), unless=(FileExistsError,))) is None


def test_an_assertion_without_text_needs_its_traceback():
    assert mistake_text(raised(AssertionError())) is None
    assert mistake_text(raised(AssertionError('depth is 19'))) == 'depth is 19'


class Loop(BaseLoop):
    """A loop of MMEngine, which fails where it is told to."""

    def __init__(self, call):
        self.call = call

    def run(self):
        self.call()


class Runner:
    def call_hook(self, fn_name):
        raise ValueError(f'refused in {fn_name}')


def fail():
    raise ValueError('the loss is not finite')


def test_an_error_in_a_running_loop_is_a_failure():
    with pytest.raises(ValueError) as found, user_input():
        Loop(fail).run()
    assert mistake_text(found.value) is None


@pytest.mark.parametrize(
    'hook, is_mistake',
    [
        ('before_run', True),
        ('before_train', True),
        ('before_val', True),
        ('before_test', True),
        ('before_train_iter', False),
        ('after_train_epoch', False),
    ],
)
def test_what_a_hook_refuses_before_the_first_step_is_a_mistake(hook, is_mistake):
    with pytest.raises(ValueError) as found, user_input():
        Loop(lambda: Runner().call_hook(fn_name=hook)).run()
    assert mistake_text(found.value) == (f'refused in {hook}' if is_mistake else None)


def test_it_is_a_decorator_too():
    @user_input('no number')
    def read(text):
        return float(text)

    assert read('3') == 3
    with pytest.raises(ValueError) as found:
        read('fast')
    assert mistake_text(found.value) == "no number: ValueError: could not convert string to float: 'fast'"
