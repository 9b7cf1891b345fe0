"""The order of the house: docs/design.md's map, words and directions are those of the code."""

import ast
import functools
import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tools/dev'))
import house_map  # noqa: E402

SOURCES = sorted(
    path
    for folder in ('mmattn', 'tools', 'benchmarks', 'tests', 'demo')
    for path in (ROOT / folder).rglob('*.py')
    if '.mim' not in path.parts
)
DESIGN = ROOT / 'docs/design.md'

# The one direction of imports: a room may import those of lower rank. Datasets know no other room.
RANKS = dict(
    _compat=0, _private_apis=0, version=0, errors=0, files=0, packages=0, wanted=0, registry=1, ops=2,
    blocks=3, insertion=4, checkpoints=5, datasets=5, engine=6, cost=7, visualization=7,
    hooks=8, export=8, pruning=8, study=8, demo=8,
)  # fmt: skip

# Names that once meant several things each, or nothing to a stranger; design.md has their successors.
RETIRED = {
    'hold', 'held', 'Held', 'release', 'relay', 'relays', 'relayed', 'by_ops', 'implementation',
    'implementation_for', 'IMPLEMENTATIONS', 'look', 'Look', 'SiteLook', 'looks', 'door', 'doors',
    'attended', 'Attended', 'attended_class', 'attended_parts', 'peak', 'peaks', 'tops', 'Places',
    'find_places', 'own_randomness', 'compact_names', 'handed_on', 'dry_run', 'DryRun', 'host_class',
    'holds_attention', 'passes', '_passes', 'aten_passes', 'compiled_passes', 'triton_passes',
    'triton_kernels', 'compiled_ops', 'cpu_passes', 'coco_figures', 'figures', 'picture', 'pictures',
    'time_in_turn', 'why_not', 'experiment', 'trial', 'kind', 'kinds', 'KINDS', 'by_kind', 'how', 'zoo',
}  # fmt: skip
# What a redesign does not rename: options of users', keys of files, and names that are others'.
KEPT = {
    'how': {  # option of Compose
        'mmattn/blocks/compose.py',
        'mmattn/visualization/sources.py',
        'tests/test_blocks/cases.py',
        'tests/test_blocks/test_compose.py',
        'tests/test_insertion/test_with_attention.py',
        'tests/test_visualization/test_sources.py',
    },
    'implementation': {
        'tests/test_tools/test_build_mmcv.py',  # of Python, in sys
        'tests/witness/record.py',  # the name that ops.backend had at the commit which is compared
        'tools/dev/build_mmcv.py',  # of Python, in sys
    },
    'kind': {
        'mmattn/blocks/external.py',  # of a parameter, in inspect
        'mmattn/checkpoints/numpy_data.py',  # of a dtype, in NumPy
        'mmattn/cost/site_table.py',  # key of the JSON that tools/sites.py writes
    },
    'kinds': {
        'benchmarks/cost_tables.py',  # key of results/cost.json
        'mmattn/cost/report_tables.py',  # key of the JSON that tools/cost.py writes
    },
    'peak': {'mmattn/cost/timing.py'},  # of memory
    'pictures': {  # option of AttentionMapHook
        'mmattn/hooks/attention_map_hook.py',
        'tests/test_hooks/test_attention_map_hook.py',
    },
    'trial': {  # Optuna's
        'mmattn/study/search/loop.py',
        'mmattn/study/search/outcome.py',
        'mmattn/study/search/space.py',
        'mmattn/study/search/storage.py',
        'tests/test_study/test_search/test_loop.py',
        'tests/test_study/test_search/test_space.py',
    },
}

FACES = {
    'mmattn': ['attach', 'detach', 'sites'],
    'mmattn.ops': ['lazy', 'materialize', 'backend', 'spatial_avg', 'channel_stats', 'apply_gate'],
    'mmattn.blocks': ['AttentionBlock', 'CBAM', 'SE', 'ECA'],
    'mmattn.insertion': ['Rule', 'Site', 'WithAttention', 'attach', 'detach', 'sites', 'check_identity'],
    'mmattn.checkpoints': ['save_adapter', 'load_adapter', 'check_insertion'],
    'mmattn.engine': ['load_config', 'check_data', 'train', 'test'],
    'mmattn.cost': ['model_cost', 'block_cost', 'cost_report'],
    'mmattn.visualization': ['record_gates', 'inspect_image', 'grad_cam', 'show_attention'],
    'mmattn.hooks': ['AdapterHook', 'AttentionMapHook', 'AttentionStatsHook', 'CheckInsertionHook'],
    'mmattn.demo': ['run_demo'],
    'mmattn.export': ['export_file', 'detector_graph', 'check_file', 'ExportedDetector'],
    'mmattn.study.comparison': ['compare_results', 'parse_variants', 'write_answer', 'answer_tables'],
    'mmattn.study.evaluation': ['evaluate_study', 'evaluate_runs', 'read_detections', 'count_mistakes'],
    'mmattn.datasets': ['LoadImageFromFile', 'make_shapes'],
    'mmattn.study': ['Scores'],
    'mmattn.study.statistics': ['compare', 'summarize', 'paired_difference', 'detectable'],
}


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding='utf-8'))


def test_the_map_of_the_house_is_true():
    page = DESIGN.read_text(encoding='utf-8')
    assert page == house_map.with_map(page, house_map.house_map()), 'python tools/dev/house_map.py --write'


def test_a_module_without_a_docstring_is_refused(tmp_path):
    (tmp_path / 'a.py').write_text('x = 1\n')
    with pytest.raises(ValueError, match='no docstring: its first line says'):
        house_map.first_line(tmp_path / 'a.py')


def room_of(module):
    parts = module.split('.')
    return parts[1] if len(parts) > 1 and parts[0] == 'mmattn' else None


def imports_of(path):
    """Modules of ours that a file imports anywhere, also inside functions."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith('mmattn'))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}:{node.lineno}: a relative import'
            if node.module == 'mmattn':
                yield from (f'mmattn.{alias.name}' for alias in node.names)
            elif (node.module or '').startswith('mmattn.'):
                yield node.module


@pytest.mark.parametrize('path', [p for p in SOURCES if 'mmattn' in p.parts], ids=lambda p: p.stem)
def test_imports_point_one_way(path):
    room = room_of('.'.join(path.relative_to(ROOT).with_suffix('').parts))
    if room == '__init__':
        return
    for name in imports_of(path):
        other = room_of(name)
        if other in RANKS and other != room:
            assert RANKS[other] < RANKS[room], f'{room} imports {name}'
            assert room != 'datasets' or other in (
                'registry',
                '_compat',
                '_private_apis',
                'errors',
                'files',
            ), f'{room} imports {name}'


def test_every_room_has_a_rank():
    rooms = {p.name if p.is_dir() else p.stem for p in (ROOT / 'mmattn').iterdir()}
    assert rooms - {'__init__', '__pycache__', '.mim'} <= set(RANKS)


def identifiers(tree):
    """Every name that the code gives to something or uses: no strings, no comments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value.lineno
        elif isinstance(node, ast.alias):
            for part in (node.asname or node.name).split('.'):
                yield part, node.lineno


def retired_in(tree):
    return [(name, line) for name, line in identifiers(tree) if name in RETIRED]


@pytest.mark.parametrize('path', SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_retired_identifier(path):
    file = path.relative_to(ROOT).as_posix()
    found = [f'{file}:{line}: {name}' for name, line in retired_in(tree_of(path))
             if file not in KEPT.get(name, ())]  # fmt: skip
    assert not found, 'these names are retired: the table of words in docs/design.md says what is said now'


def test_kept_identifiers_are_there():
    for name, files in KEPT.items():
        for file in files:
            assert name in {found for found, _ in retired_in(tree_of(ROOT / file))}, f'{name} in {file}'


def test_retired_identifiers_are_found():
    code = 'import how\ndef hold(x, kind): x.held(picture=1)\n# door, "look"\n'
    assert {name for name, _ in retired_in(ast.parse(code))} == {'how', 'hold', 'kind', 'held', 'picture'}


@pytest.mark.parametrize('package', FACES)
def test_every_package_has_a_public_face(package):
    module = importlib.import_module(package)
    assert module.__doc__
    for name in FACES[package]:
        assert hasattr(module, name) and name in module.__all__, name


@pytest.mark.parametrize('package', FACES)
def test_no_name_of_a_face_is_a_submodule(package):
    """An import of the submodule would put it in the place of the function."""
    module = importlib.import_module(package)
    assert not {each.name for each in pkgutil.iter_modules(module.__path__)} & set(module.__all__)


def test_each_word_is_defined_where_the_table_says():
    rows = re.findall(
        r'^\| \*\*(.+?)\*\*.*\| \[`(.+?)`\]\(\.\./(.+?)\) \|$', DESIGN.read_text(), re.MULTILINE
    )
    assert len(rows) >= 14
    for word, name, path in rows:
        defined = {n for n, _ in identifiers(tree_of(ROOT / path))}
        text = (ROOT / path).read_text(encoding='utf-8')
        assert name in defined and word.split(',')[0] in text.lower(), (
            f'{path} does not define {name} ({word})'
        )


def test_no_field_begins_with_of():
    """A field's documentation names its noun."""
    found = []
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node) or ''
                found += [f'{path}: {line.strip()}' for line in text.splitlines()
                          if re.match(r'\s+\w+( \(.+\))?: Of ', line)]  # fmt: skip
            elif isinstance(node, ast.Expr) and isinstance(getattr(node.value, 'value', None), str):
                if node.value.value.startswith('Of '):
                    found.append(f'{path}: {node.value.value[:60]}')
    assert not found


LIMITS = {'.md': 120, '.py': 110, '.c': 110, '.h': 110, '.sh': 110}
WRITTEN = sorted(
    path
    for folder in ('mmattn', 'tools', 'benchmarks', 'tests', 'demo', 'configs', 'docs', '.')
    for path in (ROOT / folder).glob('*' if folder == '.' else '**/*')
    if path.suffix in LIMITS and '.mim' not in path.parts
)


def long_lines(path):
    """Lines beyond the limit. In Markdown, a row of a table and a line with only a link cannot wrap."""
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        cannot_wrap = path.suffix == '.md' and re.match(r'\||\s*(- )?!?\[[^]]*\]\([^)]*\)\W*$', line)
        if len(line) > LIMITS[path.suffix] and not cannot_wrap:
            yield f'{path}:{number}: {len(line)} columns'


def test_lines_are_short():
    assert {path.suffix for path in WRITTEN} == set(LIMITS)
    assert not [found for path in WRITTEN for found in long_lines(path)]


def test_long_lines_are_found(tmp_path):
    page, code = tmp_path / 'page.md', tmp_path / 'code.py'
    link = f'[a link](https://{"x" * 120})'
    page.write_text(f'{"x" * 121}\n| {"x" * 121} |\n{link}\n- {link}\nsee {link}\n{"x" * 120}\n')
    code.write_text(f'# {"x" * 109}  # noqa\n# {"x" * 108}\n')
    assert [line.split(':')[-2] for line in long_lines(page)] == ['1', '5']
    assert [line.split(':')[-2] for line in long_lines(code)] == ['1']


# A module that no test of its room names is reached through others; here is the test that does.
TESTED_BY = {
    'blocks.clips': 'test_insertion/test_clips.py',
    'blocks.contract': 'test_blocks/test_contract.py',
    'checkpoints.adapter_table': 'test_tools/test_adapter.py',
    'checkpoints.convert': 'test_checkpoints/test_convert/test_layouts.py',
    'checkpoints.fingerprint': 'test_checkpoints/test_adapter.py',
    'checkpoints.numpy_data': 'test_checkpoints/test_trust.py',
    'checkpoints.pickled_names': 'test_checkpoints/test_trust.py',
    'checkpoints.state': 'test_checkpoints/test_check.py',
    'checkpoints.timm_hub': 'test_checkpoints/test_convert/test_hub.py',
    'cost.compare': 'test_tools/test_logs.py',
    'cost.config_table': 'test_configs/test_parameters.py',
    'datasets.image_header': 'test_engine/test_check_data_variants.py',
    'demo.report': 'test_demo/test_run.py',
    'engine.check_weights': 'test_tools/test_first_command.py',
    'engine.config_images': 'test_export/test_whole_detector.py',
    'engine.data': 'test_engine/test_check_data_variants.py',  # a file goes in, a message comes out
    'engine.trained': 'test_tools/test_mistakes.py',
    'engine.whole_files': 'test_hooks/test_checkpoint_hook.py',
    # A detector goes in, its file comes out.
    'export.dense_head': 'test_export/test_supported.py',
    'export.description': 'test_tools/test_mistakes.py',
    'export.detector': 'test_export/test_whole_detector.py',
    'export.two_stage': 'test_export/test_whole_detector.py',
    'hooks.check_data_hook': 'test_engine/test_check_data_loaded.py',
    'hooks.model': 'test_hooks/test_attention_stats_hook.py',
    'insertion.attention_model': 'test_insertion/test_with_attention.py',
    'insertion.fake_tensors': 'test_insertion/test_fake_run.py',
    'insertion.mixed_class': 'test_insertion/test_residual_hosts.py',
    'insertion.module_traits': 'test_insertion/test_site_search.py',
    'insertion.positions': 'test_insertion/test_attach_detach.py',
    'insertion.resnet_positions': 'test_insertion/test_attach_detach.py',
    'insertion.traced_host': 'test_insertion/test_residual_trace.py',
    'insertion.virtual_names': 'test_insertion/test_site_search.py',
    'ops.backends.aten': 'test_ops/test_backends/test_numbers.py',
    'ops.precision': 'test_blocks/test_contract.py',
    'ops.tail_autograd': 'test_ops/test_tail.py',
    'study.comparison.command': 'test_tools/test_study_compare.py',
    'study.__main__': 'test_tools/test_study.py',
    'study.cli': 'test_tools/test_study.py',
    'study.options': 'test_tools/test_study.py',
    'study.record_hook': 'test_study/test_worker.py',
    'study.report': 'test_study/test_report/test_study_report.py',  # a folder goes in, its report comes out
    'visualization.data_sheet': 'test_tools/test_check_data.py',
    'visualization.from_files': 'test_tools/test_show_attention.py',
    'visualization.html_attention': 'test_visualization/test_page.py',
    'visualization.plots': 'test_visualization/test_sheet.py',
    'visualization.show_data': 'test_tools/test_check_data.py',
}
ROOMS = sorted(path.parent.name for path in (ROOT / 'mmattn').glob('*/__init__.py'))


def modules_named_in(folder):
    """Modules of ours that the tests in a folder import, or whose functions and classes they import."""
    found = {path.stem.removeprefix('test_') for path in folder.rglob('test_*.py')}
    for path in folder.rglob('*.py'):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'mmattn':
                found.add(node.module)
                for alias in node.names:
                    value = getattr(importlib.import_module(node.module), alias.name, None)
                    found |= {f'{node.module}.{alias.name}', getattr(value, '__module__', None)}
    return found


@pytest.mark.parametrize('room', ROOMS)
def test_each_module_has_its_test(room):
    """In a file of its name, by a test that imports it, or by the one that TESTED_BY names."""
    folder = ROOT / f'tests/test_{room}'
    assert folder.is_dir(), f'tests/test_{room}: a folder for the tests of mmattn/{room}'
    found = modules_named_in(folder)
    without = set()
    for path in (ROOT / 'mmattn' / room).rglob('*.py'):
        name = '.'.join(path.relative_to(ROOT / 'mmattn').with_suffix('').parts)
        if path.name != '__init__.py' and not {f'mmattn.{name}', path.stem.lstrip('_')} & found:
            without.add(
                name if name in TESTED_BY else name.rpartition('.')[0] if name.count('.') > 1 else name
            )
    listed = {name for name in TESTED_BY if name.split('.')[0] == room}
    assert without == listed, 'give a module a test that imports it, or say in TESTED_BY where its test is'
    for name in listed:
        assert (ROOT / 'tests' / TESTED_BY[name]).is_file(), TESTED_BY[name]
