"""Checkpoints: check which attention they hold, and save attention alone as an adapter."""

from mmattn.checkpoints.adapter import (
    adapter_of,
    adapter_of_checkpoint,
    check_base,
    load_adapter,
    merge_adapter,
    save_adapter,
)
from mmattn.checkpoints.adapter_file import (
    Adapter,
    AdapterError,
    DamagedAdapter,
    NewerAdapter,
    WrongBase,
    WrongSpec,
    read_adapter,
    write_adapter,
)
from mmattn.checkpoints.check import check_insertion, require_same_insertion
from mmattn.checkpoints.convert import NotConverted, NotMappable, convert_file, convert_file_to_timm
from mmattn.checkpoints.damage import checkpoint_to_resume, damage_of
from mmattn.checkpoints.pretrained import load_checkpoints
from mmattn.checkpoints.pretrained_blocks import load_pretrained_blocks
from mmattn.checkpoints.read import has_loader, read_checkpoint
from mmattn.checkpoints.same_optimizer import require_same_optimizer
from mmattn.checkpoints.trust import UntrustedCheckpoint, refuse_code, require_no_code

__all__ = [
    'Adapter',
    'AdapterError',
    'DamagedAdapter',
    'NewerAdapter',
    'NotConverted',
    'NotMappable',
    'UntrustedCheckpoint',
    'WrongBase',
    'WrongSpec',
    'adapter_of',
    'adapter_of_checkpoint',
    'check_base',
    'check_insertion',
    'checkpoint_to_resume',
    'convert_file',
    'convert_file_to_timm',
    'damage_of',
    'load_adapter',
    'load_checkpoints',
    'load_pretrained_blocks',
    'merge_adapter',
    'read_adapter',
    'has_loader',
    'read_checkpoint',
    'refuse_code',
    'require_no_code',
    'require_same_insertion',
    'require_same_optimizer',
    'save_adapter',
    'write_adapter',
]
