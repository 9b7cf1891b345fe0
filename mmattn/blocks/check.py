"""Check blocks of your own against the contract: ``python -m mmattn.blocks.check my_package.srm:SRM``."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import logging
import os
import sys
import warnings
from typing import Any

from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.contract import RULES, Case, NotChecked, Subject, breaks, rules_for


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m mmattn.blocks.check', description=__doc__)
    parser.add_argument('block', help='MODULE:CLASS or FILE.py:CLASS; without CLASS all blocks there')
    parser.add_argument('options', nargs='*', metavar='KEY=VALUE', help='options without a default')
    parser.add_argument('--frames', type=int, default=1, help='of a clip, for a block along frames')
    args = parser.parse_args()
    try:
        classes = classes_at(args.block)
        case = Case(dict(map(_option, args.options)), frames=args.frames)
    except (ImportError, SyntaxError, ValueError, OSError) as error:
        parser.error(str(error))
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            broken = sum(_check(Subject(cls, case)) for cls in classes)
    finally:
        logging.disable(level)  # it may have been called by other code
    sys.exit(1 if broken else 0)


def classes_at(place: str) -> list[type]:
    """Return the classes that ``MODULE:CLASS``, ``FILE.py:CLASS``, ``MODULE`` or ``FILE.py`` names.

    Raises:
        ImportError, OSError, SyntaxError: If there is no such module.
        ValueError: If it has no such class.
    """
    where, _, name = place.partition(':')
    if where.endswith('.py'):
        spec = importlib.util.spec_from_file_location(os.path.basename(where)[:-3], where)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(where)
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, AttentionBlock)
        and value.__module__ == module.__name__
    }
    found = list(own) if not name else [name] if inspect.isclass(getattr(module, name, None)) else []
    if not found:
        asked = f"class '{name}'" if name else 'subclass of mmattn.blocks.AttentionBlock'
        raise ValueError(f'{where} has no {asked}; its blocks: {", ".join(own) or "none"}')
    return [getattr(module, each) for each in found]


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition('=')
    if not equals:
        raise ValueError(f"options are KEY=VALUE, and '{text}' has no =")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def _check(subject: Subject) -> int:
    """Print a line for each rule; return how many are broken."""
    print(f'{subject.name}: {subject.role}')
    broken = 0
    for name in rules_for(subject):
        try:
            broken_by = breaks(name, subject)
        except NotChecked as reason:
            print(f'-     {name}: not checked, {reason}', flush=True)
            continue
        said = broken_by or inspect.getdoc(RULES[name].keeps)
        print(f'{"FAIL" if broken_by else "ok":4}  {name}: {said}', flush=True)
        broken += bool(broken_by)
        if broken_by and subject.problem is not None:
            break
    print(f'{subject.name} breaks {broken} rules' if broken else f'{subject.name} keeps the contract')
    return broken


if __name__ == '__main__':
    main()
