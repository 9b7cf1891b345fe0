"""From a trained detector to a pruned one, in files: what ``tools/prune.py`` calls."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmattn.checkpoints import read_checkpoint
from mmattn.checkpoints.check import require_trained_attention
from mmattn.cost import inference, model_cost, time_interleaved
from mmattn.engine import check_data, test
from mmattn.engine.config_images import images
from mmattn.engine.data_root import load_config
from mmattn.engine.machine import describe_machine
from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_file, require_writable_folder
from mmattn.engine.trained import trained_detector
from mmattn.files import require_free, write_file
from mmattn.pruning.ranking import RANKINGS, Gates, Magnitude, Random, Ranking, channel_gates
from mmattn.pruning.target import CannotPrune, Pruning, Target, narrowed, prune_to
from mmattn.visualization import gate_sources, why_no_gates

CHECKPOINT, RECORD = 'pruned.pth', 'pruning.json'


@dataclass(frozen=True)
class PrunedFiles:
    """A pruned detector that was written.

    Attributes:
        config: The config file; ``tools/train.py`` fine-tunes what it loads.
        checkpoint: The checkpoint.
        pruning: What was taken.
        before: Parameters, operations and seconds an image (``latency``); the metrics, if it was evaluated.
        after: The same of the pruned detector.
    """

    config: str
    checkpoint: str
    pruning: Pruning
    before: dict[str, float]
    after: dict[str, float]


def prune_file(
    config: str,
    checkpoint: str,
    out: str,
    target: Target,
    rank: str = RANKINGS[0],
    count: int = 200,
    seed: int = 0,
    ignore: Sequence[str] = (),
    round_to: int = 1,
    evaluate: bool = True,
    overwrite: bool = False,
    data_root: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    device: str = 'cpu',
    trust_checkpoint: bool = False,
) -> PrunedFiles:
    """Prune a trained detector and write its config, its checkpoint and a record into a folder.

    Args:
        config: Config file.
        checkpoint: Checkpoint file.
        out: Folder to write into.
        target: What may remain.
        rank: One of :data:`~mmattn.pruning.ranking.RANKINGS`.
        count: Number of images of the config's val data whose gates are averaged; 0: all.
        seed: Seed of a random ranking.
        ignore: Globs over layers whose channels stay.
        round_to: Widths become multiples of this, where there is that much.
        evaluate: Also evaluate both detectors on the config's test data.
        overwrite: Replace what such a call wrote there before.
        data_root: Folder of the data set; see :func:`~mmattn.engine.load_config`.
        cfg_options: Changes to the config.
        device: Device to run on.
        trust_checkpoint: Let the checkpoint run code.

    Raises:
        CannotPrune: If the detector cannot be pruned as asked for; nothing is written.
    """
    new_config = os.path.join(out, f'{os.path.splitext(os.path.basename(config))[0]}_pruned.py')
    new_checkpoint, new_record = os.path.join(out, CHECKPOINT), os.path.join(out, RECORD)
    folders = [os.path.join(out, 'evaluation', name) for name in ('before', 'after')]
    with user_input():
        _require_place(out, (new_config, new_checkpoint, new_record), folders if evaluate else (), overwrite)
        _require_other_files((config, checkpoint), (new_config, new_checkpoint))
        _require_a_detector(load_config(config, data_root, cfg_options))
    with user_input(f'{config} and {checkpoint}'):
        cfg, model = trained_detector(
            config, checkpoint, data_root, cfg_options, device, trust_checkpoint=trust_checkpoint
        )
        check_data(cfg, (*(('test',) if evaluate else ()), *(('val',) if rank == Gates.name else ())))
        require_trained_attention(model, read_checkpoint(checkpoint, trust_checkpoint=trust_checkpoint))
    with user_input():
        ranking = partial(_ranking, rank, seed, _gates(model, cfg, count) if rank == Gates.name else None)
        pruning = prune_to(model, target, ranking, ignore, round_to)
    pruned_cfg = config_of(cfg, narrowed(pruning.model, model), os.path.abspath(new_checkpoint))
    state = pruning.model.state_dict()
    with user_input('the pruned detector cannot be built again'):
        rebuilt = _rebuilt(pruned_cfg, state).to(device).eval()
    before, after = _costs(model, rebuilt, target.size, device)
    asked = dict(
        config=config, checkpoint=checkpoint, rank=rank, images=count, seed=seed, ignore=list(ignore),
        round_to=round_to, cfg_options=dict(cfg_options or {}),
    )  # fmt: skip

    evaluated = partial(test, data_root=data_root, trust_checkpoint=trust_checkpoint)
    if evaluate:
        before |= evaluated(config, checkpoint, work_dir=folders[0], cfg_options=dict(cfg_options or {}))
    os.makedirs(out, exist_ok=True)
    meta = dict(dataset_meta=_plain(model.dataset_meta))
    write_file(new_checkpoint, _saved(dict(meta=meta, state_dict=_on_cpu(rebuilt.state_dict()))), overwrite)
    write_file(new_config, pruned_cfg.pretty_text, overwrite)
    write_file(new_record, _record(pruning, target, asked, before, after), overwrite)
    if evaluate:
        after |= evaluated(new_config, new_checkpoint, work_dir=folders[1])
        write_file(new_record, _record(pruning, target, asked, before, after))
    return PrunedFiles(new_config, new_checkpoint, pruning, before, after)


def _require_place(out: str, files: Iterable[str], folders: Iterable[str], overwrite: bool) -> None:
    """Raise an error unless all can be written that will be."""
    if not out:
        raise ValueError("OUT is '': name a folder to write into")
    require_writable_folder(out, 'OUT')
    for file in files:
        require_writable_file(file, 'OUT')
        require_free(file, overwrite)
    for folder in folders:
        require_writable_folder(folder, 'OUT')


def _require_other_files(given: Iterable[str], written: Iterable[str]) -> None:
    """Raise ``CannotPrune`` if what is pruned would be overwritten."""
    places = {os.path.realpath(each): each for each in written}
    for each in given:
        if os.path.realpath(each) in places:
            raise CannotPrune(
                f"'{each}' is what is pruned, and would be overwritten: name another folder as OUT"
            )


def _require_a_detector(cfg: Config) -> None:
    """Raise ``CannotPrune`` for what contains a detector rather than being one."""
    model = cfg.model
    if 'teacher_config' in model:
        raise CannotPrune(
            f'{model.get("detector", model.type)} has a teacher: give the config of the student alone, which '
            'takes the same checkpoint'
        )
    if 'detector' in model and 'insert' not in model and not model.get('widths'):
        raise CannotPrune(
            f'{model.type} wraps a detector: prune that one, with its own config and checkpoint'
        )


def _gates(model: nn.Module, cfg: Config, count: int) -> dict[str, torch.Tensor]:
    remedy = 'Or rank by another than gates: --rank magnitude'
    if not gate_sources(model):
        raise CannotPrune(f'there are no gates to rank by: {why_no_gates(model)}. {remedy}')
    gates = channel_gates(model, images(cfg, count, 'val'), lambda detector, batch: detector.test_step(batch))
    if not gates:
        raise CannotPrune(f'no block of this detector has a gate for each channel. {remedy}')
    return gates


def _ranking(rank: str, seed: int, gates: Mapping[str, torch.Tensor] | None) -> Ranking:
    if rank == Magnitude.name:
        return Magnitude()
    return Random(seed) if gates is None else Gates(gates)


def config_of(cfg: Config, widths: Mapping[str, Any], checkpoint: str) -> Config:
    """Return the config of a pruned detector, which starts from its checkpoint.

    Args:
        cfg: Config of the detector before.
        widths: Widths of its layers; those of a detector that was pruned before are replaced.
        checkpoint: Path of the pruned weights.
    """
    found = deepcopy(cfg)
    model = found.model
    kept = model.get('widths') or {}
    if 'insert' not in model and not kept:
        model = ConfigDict(model, type='mmattn.Pruned', detector=model.type)
    model['widths'] = {**kept, **widths}
    _drop_init_cfg(model)
    found.model = model
    found.load_from, found.resume = checkpoint, False
    found.pop('work_dir', None)
    return found


def _drop_init_cfg(node: Any) -> None:
    """Leave out pretrained weights, which are those of the wider layers, and replaced by the checkpoint's."""
    if isinstance(node, dict):
        given = node.get('init_cfg')
        if isinstance(given, dict) and given.get('type') == 'Pretrained':
            node['init_cfg'] = None
        node = node.values()
    if not isinstance(node, str) and hasattr(node, '__iter__'):
        for child in node:
            _drop_init_cfg(child)


def _rebuilt(cfg: Config, state: Mapping[str, Any]) -> nn.Module:
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmdet'):
        model = MODELS.build(deepcopy(cfg.model))
    spec = {key: value for key, value in model.state_dict().items() if key.endswith('_extra_state')}
    model.load_state_dict({**state, **spec})
    return model


def _costs(
    model: nn.Module, pruned: nn.Module, size: tuple[int, int], device: str
) -> tuple[dict[str, float], dict[str, float]]:
    models = dict(before=model, after=pruned)
    found = {}
    for name, each in models.items():
        cost = model_cost(each, size, memory=False)
        found[name] = dict(parameters=cost.parameters, operations=cost.ops.total())
    timed = time_interleaved(
        {name: inference(each, size) for name, each in models.items()}, repeats=10, device=device
    )
    for name, timing in timed.items():
        found[name]['latency'] = timing.median
    return found['before'], found['after']


def _plain(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return classes and colours, whichever version of MMDetection trained the detector."""
    return {key: meta[key] for key in ('classes', 'palette') if isinstance(meta.get(key), (str, list, tuple))}


def _on_cpu(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.cpu() if isinstance(value, torch.Tensor) else value for key, value in state.items()}


def _saved(content: Mapping[str, Any]) -> bytes:
    file = BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _record(
    pruning: Pruning,
    target: Target,
    asked: Mapping[str, Any],
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> str:
    record = dict(
        target=dict(ops=target.ops, parameters=target.parameters, size=list(target.size)),
        **asked,
        ratio=pruning.ratio,
        kept=[dict(layers=list(names), because=why) for names, why in pruning.kept.items()],
        groups=[
            dict(
                layers=list(group.layers),
                channels=group.channels,
                taken=list(taken),
                ranked=not pruning.ranked.isdisjoint(group.layers),
            )
            for group, taken in pruning.groups
        ],
        before=dict(before),
        after=dict(after),
        machine=describe_machine(),
    )
    return json.dumps(record, indent=1, default=str) + '\n'
