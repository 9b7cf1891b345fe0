"""Whatever is registered is found by its name alone, as configs name it."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REGISTERED = re.compile(r'^@(\w+)\.register_module\(.*\)\n(?:@.*\n)*(?:class|def) (\w+)', re.MULTILINE)
FIND = """
import json, sys
import mmattn.registry
missing = []
for registry, name in json.loads(sys.argv[1]):
    try:
        getattr(mmattn.registry, registry).get(name)
    except KeyError:
        missing.append(name)
print(json.dumps(missing))
"""


def test_a_new_process_finds_all_that_is_registered():
    texts = (path.read_text(encoding='utf-8') for path in (ROOT / 'mmattn').rglob('*.py'))
    registered = [found for text in texts for found in REGISTERED.findall(text)]
    assert {('MODELS', 'CBAM'), ('HOOKS', 'RunRecordHook'), ('TRANSFORMS', 'LoadImageFromFile')} <= set(
        registered
    )
    command = [sys.executable, '-c', FIND, json.dumps(registered)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
