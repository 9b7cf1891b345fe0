"""What stands between a config file and MMEngine's Runner: data root, data checks, processes."""

from mmattn.engine.check_data import check_data, read_classes
from mmattn.engine.data_root import DATA_ROOT_VARIABLE, load_config
from mmattn.engine.distributed import prepare_processes
from mmattn.engine.launch import test, train

__all__ = [
    'DATA_ROOT_VARIABLE',
    'check_data',
    'load_config',
    'prepare_processes',
    'read_classes',
    'test',
    'train',
]
