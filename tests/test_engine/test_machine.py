import json
import os
import platform

import torch

from mmattn.engine.machine import describe_machine


def test_the_machine_is_described_in_json():
    found = json.loads(json.dumps(describe_machine()))
    assert found['cores'] == os.cpu_count() and found['threads'] == torch.get_num_threads()
    assert found['processor'] and (found['gpu'] is None) == (not torch.cuda.is_available())
    assert found['versions']['python'] == platform.python_version()
    assert found['versions']['torch'] == torch.__version__
    assert any(name.endswith(('mmdet', 'mmdetection')) for name in found['versions'])
