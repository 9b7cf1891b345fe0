"""Get pretrained weights before training, and only those that are not loaded over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModule, PretrainedInit, is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint
from torch import Tensor, nn

from mmattn._private_apis import is_resuming, load_from
from mmattn.checkpoints import has_loader
from mmattn.checkpoints.check import require_trained_attention
from mmattn.checkpoints.fit import require_fit, require_weights_for
from mmattn.checkpoints.pretrained import cached_file, fetch, url_of
from mmattn.checkpoints.read import read_checkpoint
from mmattn.insertion.attention_model import AttentionModel
from mmattn.insertion.pretrained_check import prefix_of, pretrained_cfgs

VARIABLES = 'MMATTN_PRETRAINED', 'MMATTN_TEACHER'
"""Environment variables that some configs read: the file with pretrained weights, and that of a teacher."""


def check_weights(cfg: Config) -> None:
    """Fetch the pretrained weights that the model of a config names, unless they are in the cache.

    Raises:
        FileNotFoundError: If a file is missing.
        NotFetched: If weights cannot be fetched.
        ValueError: If an address names no weights.
    """
    for where, address in _pretrained(cfg.model, 'model'):
        _require_file(cfg, where, address)
        fetch(address, where)


def _require_file(cfg: Config, where: str, address: str) -> None:
    if '://' not in address and not os.path.isfile(os.path.expanduser(address)):
        raise FileNotFoundError(
            f"no file '{address}' with pretrained weights ({where}); looked in {os.getcwd()}"
            f'{_made_by(cfg, where)}'
        )


def _made_by(cfg: Config, where: str) -> str:
    """Return how to make the weights or to name others, where a config says it; else an empty string."""
    command = cfg.get('weights_made_by')
    variable = ''.join(f'{name} or ' for name in VARIABLES if f'${name}:' in cfg.text)
    return f'. `{command}` makes it; {variable}--cfg-options {where}=FILE names another' if command else ''


def require_pretrained_fit(model: nn.Module, trust_checkpoint: bool = False) -> None:
    """Check that the files that a model's parts start from are theirs, before training.

    Parts that load files in their own way, such as Swin, and files that are not on this machine are left out.

    Raises:
        ValueError: If a file has none of a part's weights.
    """
    for name, module in model.named_modules():
        if not _initialises_as_mmengine(module):
            continue
        for cfg in pretrained_cfgs(module):
            url = url_of(cfg['checkpoint'])
            path = cached_file(url) if url else os.path.expanduser(cfg['checkpoint'])
            if not os.path.isfile(path):
                continue
            where = '.'.join(filter(None, ('model', name, 'init_cfg.checkpoint')))
            content = read_checkpoint(path, where, trust_checkpoint)
            require_weights_for(module, content, f"'{cfg['checkpoint']}' ({where})", prefix_of(cfg))


def require_teacher_fit(model: nn.Module, cfg: Config, trust_checkpoint: bool = False) -> None:
    """Check that the checkpoint of a teacher is one of its config; MMDetection would train with what fits.

    Raises:
        ValueError: If there is none, or it is of another detector, of other classes or of other attention.
    """
    detector = model.module if is_model_wrapper(model) else model
    path, teacher = cfg.model.get('teacher_ckpt'), getattr(detector, 'teacher_model', None)
    if not isinstance(teacher, nn.Module):
        return
    if not path:
        raise ValueError(
            f'model.teacher_ckpt={path!r}: a teacher without a checkpoint has random values. Name one of the '
            'detector in model.teacher_config'
        )
    if isinstance(path, str) and not has_loader(path):
        content, name = read_checkpoint(path, 'model.teacher_ckpt', trust_checkpoint), 'model.teacher_ckpt'
        require_fit(teacher, content, f'{path} ({name})', whole=True)
        try:
            require_trained_attention(teacher, content)
        except ValueError as error:
            raise ValueError(
                f'{name}={path!r} is not of the teacher in model.teacher_config: {error}'
            ) from error


def check_teachers(cfg: Config) -> None:
    """Check that the checkpoints of teachers are there; MMDetection needs them whenever it builds the model.

    Raises:
        FileNotFoundError: If a file is missing; the message says what makes it, where the config does.
    """
    for where, address in _pretrained(cfg.model, 'model'):
        if where.endswith('.teacher_ckpt'):
            _require_file(cfg, where, address)


def _pretrained(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield the config key and the address of all pretrained weights in a model's config."""
    if isinstance(node, Mapping):
        if node.get('type') in ('Pretrained', PretrainedInit) and isinstance(node.get('checkpoint'), str):
            yield f'{where}.checkpoint', node['checkpoint']
        if isinstance(node.get('teacher_ckpt'), str):
            yield f'{where}.teacher_ckpt', node['teacher_ckpt']
        node = node.items()
    elif isinstance(node, (list, tuple)):
        node = enumerate(node)
    else:
        return
    for key, child in node:
        yield from _pretrained(child, f'{where}.{key}')


def take_pretrained_from_checkpoint(runner: Runner, trust_checkpoint: bool = False) -> None:
    """Spare a runner to fetch pretrained weights that its ``load_from`` or ``resume`` overwrites at once.

    The modules concerned start from the checkpoint itself, so that all else, as random numbers, is the same.

    Args:
        runner: Before training.
        trust_checkpoint: Let the checkpoint run code.
    """
    path = load_from(runner) or (is_resuming(runner) and find_latest_checkpoint(runner.work_dir))
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    missing = {name: module for name, module in model.named_modules() if _is_to_fetch(module)}
    if not path or not missing:
        return
    checkpoint = read_checkpoint(path, trust_checkpoint=trust_checkpoint)
    state = checkpoint.get('state_dict', checkpoint)
    for name, module in missing.items():
        prefix = _prefix_of(f'{name}.' if name else '', module, state)
        if prefix is None:
            continue
        addresses = [cfg['checkpoint'] for cfg in pretrained_cfgs(module)]
        instead = dict(type='Pretrained', checkpoint=path, prefix=prefix or None)
        if isinstance(module.init_cfg, (list, tuple)):
            own = pretrained_cfgs(module)
            module.init_cfg = [cfg for cfg in module.init_cfg if cfg not in own] + [instead]
        else:
            module.init_cfg = instead
        print_log(
            f'{", ".join(addresses)}: not fetched, since {path} has all weights of {name or "the model"}',
            logger='current',
        )


def _is_to_fetch(module: nn.Module) -> bool:
    """Whether the module initialises itself as MMEngine does, by weights that are not in the cache."""
    if not _initialises_as_mmengine(module):
        return False
    urls = [url_of(cfg['checkpoint']) for cfg in pretrained_cfgs(module)]
    return any(url and not os.path.isfile(cached_file(url)) for url in urls)


def _initialises_as_mmengine(module: nn.Module) -> bool:
    """Whether a module loads pretrained weights as they are; Swin, for one, converts them."""
    own = getattr(type(module), 'init_weights', None)
    return own in (BaseModule.init_weights, AttentionModel.init_weights)


def _prefix_of(prefix: str, module: nn.Module, state: Mapping[str, Any]) -> str | None:
    """Return the prefix of the module's weights in a state dict, if it has all of them in their shapes."""
    shapes = {key: value.shape for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    for found in (prefix, f'module.{prefix}'):
        if all(
            key.endswith('num_batches_tracked') or getattr(state.get(found + key), 'shape', None) == shape
            for key, shape in shapes.items()
        ):
            return found
    return None
