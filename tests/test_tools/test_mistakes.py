"""A user's mistake ends every tool with exit code 2 and the message alone."""

import os
import re
import shlex
import subprocess
import sys

import pytest

NO_DETECTOR = ('nowhere.py', "no config file 'nowhere.py' (looked in ")
NO_PYTHON = ('syntax.py', "config 'syntax.py' cannot be read: SyntaxError: '(' was never closed")
NO_RULE = (
    '--cfg-options model.insert.0.at=neck.x',
    "rule at='neck.x': nothing in the model matches 'neck.x'",
)
NO_BLOCK = (
    '--cfg-options model.insert.0.block.type=mmattn.CBMA',
    "is not registered; did you mean 'mmattn.CBAM'?",
)
NO_VALUE = ('--cfg-options model', "--cfg-options takes key=value, and 'model' has no =")
IN_THE_WAY = "/file' is a file, and a folder is needed"

# Tool, its arguments, what its message says. The files are those of the fixture below.
MISTAKES = [
    ('train.py', '', 'the following arguments are required: config'),
    ('train.py', *NO_DETECTOR),
    ('train.py', 'folder', "no config file 'folder'"),
    ('train.py', *NO_PYTHON),
    ('train.py', 'raises.py', "config 'raises.py' cannot be read: ZeroDivisionError: division by zero"),
    ('train.py', 'text.txt', "config 'text.txt' cannot be read: OSError: Only py/yml/yaml/json"),
    ('train.py', 'no_base.py', "config 'no_base.py' cannot be read: FileNotFoundError:"),
    ('train.py', 'mmdet::no/config.py', "config 'mmdet::no/config.py' cannot be read: FileNotFoundError:"),
    ('train.py', 'no_model.py', "config 'no_model.py' has no model"),
    ('train.py', 'detector.py --bogus', 'unrecognized arguments: --bogus'),
    ('train.py', f'detector.py {NO_RULE[0]}', NO_RULE[1]),
    ('train.py', f'detector.py {NO_BLOCK[0]}', NO_BLOCK[1]),
    ('train.py', f'detector.py {NO_VALUE[0]}', NO_VALUE[1]),
    ('train.py', 'detector.py --cfg-options =3', "a part of the key is missing in '=3'"),
    ('train.py', 'detector.py --cfg-options a..b=3', "a part of the key is missing in 'a..b=3'"),
    ('train.py', 'detector.py --cfg-options model.insert.0.block.bogus=1', "CBAM has no option 'bogus'"),
    ('train.py', 'detector.py --cfg-options model.insert.7.at=neck', 'model.insert ends with model.insert.0'),
    ('train.py', 'detector.py --cfg-options model.insert.at=neck', "model.insert.0.at='neck'"),
    ('train.py', "detector.py --cfg-options 'a=[dict(type=X)]'", 'is not written as Python'),
    ('train.py', 'detector.py --cfg-options data_root=x', "'data_root' is a variable of the config file"),
    ('train.py', 'detector.py --cfg-options model.bogus=1', "unexpected keyword argument 'bogus'"),
    ('train.py', 'detector.py --cfg-options optim_wrapper.optimizer.lr=-1', '.lr=-1 in the config, but a'),
    ('train.py', 'detector.py --cfg-options load_from=no.pth', "no checkpoint file 'no.pth' (load_from)"),
    ('train.py', 'detector.py --data-root no', "no annotation file 'no/annotations/train.json'"),
    ('train.py', 'detector.py --resume no.pth', "no checkpoint file 'no.pth' (--resume); looked in "),
    ('train.py', 'detector.py --resume text.txt', "'text.txt' cannot be read as a checkpoint: "),
    ('train.py', 'detector.py --resume empty.pth', "'empty.pth' cannot be read as a checkpoint: "),
    ('train.py', 'detector.py --resume three.pth', "'three.pth' (--resume): this is not a checkpoint"),
    (
        'train.py',
        'detector.py --resume detector.pth',
        'holds weights, but not the epoch and iteration of a run',
    ),
    ('train.py', 'detector.py --launcher bogus', "argument --launcher: invalid choice: 'bogus'"),
    ('train.py', 'detector.py --launcher slurm', '--launcher slurm was asked for, but SLURM_PROCID'),
    (
        'train.py',
        'detector.py --auto-scale-lr --cfg-options auto_scale_lr=None',
        '--auto-scale-lr was asked for, but detector.py does not state the batch size',
    ),
    ('train.py', 'detector.py --work-dir file', f'--work-dir file: {IN_THE_WAY}'),
    ('train.py', 'detector.py --work-dir file/below', f'--work-dir file/below: {IN_THE_WAY}'),
    ('test.py', 'detector.py', 'the following arguments are required: checkpoint'),
    ('test.py', f'{NO_DETECTOR[0]} detector.pth', NO_DETECTOR[1]),
    ('test.py', f'{NO_PYTHON[0]} detector.pth', NO_PYTHON[1]),
    ('test.py', 'detector.py no.pth', "no checkpoint file 'no.pth' (the checkpoint)"),
    ('test.py', 'detector.py folder', "no checkpoint file 'folder' (the checkpoint)"),
    (
        'test.py',
        'detector.py empty.pth',
        "'empty.pth' cannot be read as a checkpoint: ",
    ),
    ('test.py', 'detector.pth detector.py', "'detector.pth' cannot be read: OSError: Only py/yml/yaml/json"),
    ('test.py', 'detector.py detector.py', "'detector.py' (the checkpoint) is a config, not a checkpoint"),
    (
        'test.py',
        'detector.py detector.pth --cfg-options model.neck.out_channels=16 model.bbox_head.in_channels=16',
        "'detector.pth' is of another model than the config, or of other classes: ",
    ),
    ('test.py', f'detector.py detector.pth {NO_RULE[0]}', NO_RULE[1]),
    ('test.py', 'detector.py no.onnx', "no file 'no.onnx'; looked in "),
    ('test.py', 'detector.py text.onnx', "'text.onnx' cannot be read by ONNX Runtime: "),
    (
        'test.py',
        'detector.py foreign.onnx',
        "'foreign.onnx' was not written by tools/export.py: it does not say which classes it detects "
        "and which images it takes (it has input x ('N', 2), output y ('N', 2)). Export the checkpoint",
    ),
    (
        'test.py',
        'detector.py foreign.onnx --launcher pytorch',
        '--launcher pytorch: an .onnx file is evaluated by one process; leave it out',
    ),
    ('test.py', 'detector.py later.onnx', "'later.onnx' was written by a later mmattn (9.9.9, format 99; "),
    (
        'test.py',
        'detector.py other_classes.onnx',
        'detects 2 classes (cat, dog), and the data has 2 classes (',
    ),
    ('prune.py', 'detector.py detector.pth', 'the following arguments are required: OUT'),
    ('prune.py', 'detector.py detector.pth out', 'a target is a part of what the detector has now, above 0'),
    (
        'prune.py',
        'detector.py detector.pth out --ops 7',
        'below 1, such as --ops 0.7: --ops 7.0, --params None',
    ),
    (
        'prune.py',
        'detector.py detector.pth file --ops 0.7',
        f'OUT file: {IN_THE_WAY}',
    ),
    ('prune.py', f'{NO_DETECTOR[0]} detector.pth out --ops 0.7', NO_DETECTOR[1]),
    ('prune.py', 'detector.py no.pth out --ops 0.7', "no checkpoint file 'no.pth'"),
    (
        'prune.py',
        'detector.py other.pth out --ops 0.7 --rank random',
        'its attention is not that of the config: ',
    ),
    (
        'prune.py',
        'stock.py other.pth out --ops 0.7',
        'the checkpoint has attention, and the config has none. Give',
    ),
    (
        'prune.py',
        'other.py stock.pth out --ops 0.7',
        'the checkpoint has none, and the config has attention. Gi',
    ),
    (
        'prune.py',
        'stock.py stock.pth out --ops 0.7 --rank gates',
        'there are no gates to rank by: it has no attention',
    ),
    (
        'prune.py',
        'stock.py stock.pth out --ops 0.7 --shape 96 --rank random --ignore backbone.layer9',
        "--ignore 'backbone.layer9' matches no module of this RetinaNet; nearest: backbone.layer",
    ),
    (
        'prune.py',
        'stock.py stock.pth out --ops 0.01 --shape 96 --rank random --ignore neck',
        'the target, 1% of the operations, cannot be reached: ',
    ),
    (
        'prune.py',
        'stock.py stock.pth out --ops 0.7 --rank random --data-root no',
        "no annotation file 'no/annotations/val.json'",
    ),
    ('prune.py', 'stock.py stock.pth out --ops 0.7 --rank bogus', "argument --rank: invalid choice: 'bogus'"),
    (
        'prune.py',
        'stock.py stock.pth out --ops 0.7 --images -1',
        '--images is at least 0, --round-to at least',
    ),
    ('export.py', 'detector.py detector.pth', 'the following arguments are required: OUT'),
    ('export.py', f'{NO_DETECTOR[0]} detector.pth x.onnx', NO_DETECTOR[1]),
    ('export.py', 'detector.py no.pth x.onnx', "no checkpoint file 'no.pth'"),
    (
        'export.py',
        'detector.py detector.pth x.engine',
        "OUT was 'x.engine': a detector is written as .onnx or",
    ),
    ('export.py', 'detector.py detector.pth foreign.onnx', "foreign.onnx' exists already: name another file"),
    ('export.py', 'detector.py detector.pth file/x.onnx', f'OUT file/x.onnx: {IN_THE_WAY}'),
    (
        'export.py',
        'detector.py detector.pth x.onnx --opset 10',
        '--opset 10: the exporter torchscript needs 11',
    ),
    ('export.py', 'detector.py detector.pth x.onnx --check -1', '--check and --int8 are at least 0'),
    (
        'export.py',
        'detector.py detector.pth x.pt2 --int8 2',
        '--int8 quantises an .onnx file of the exporter torchscript',
    ),
    ('export.py', 'detector.py detector.pth x.pt2 --check 1', 'OUT has to be .onnx'),
    (
        'export.py',
        'detector.py detector.pth x.onnx --check 1 --data-root no',
        "no annotation file 'no/annotations/val.json'",
    ),
    (
        'export.py',
        'other_head.py detector.pth x.onnx',
        "'detector.pth' is of another model than the config, or of",
    ),
    (
        'export.py',
        'detector.py detector.pth x.onnx --cfg-options model.test_cfg.nms.type=soft_nms',
        "RetinaNet cannot be exported: the head uses nms={{'iou_threshold': 0.5, 'type': 'soft_nms'}}, and "
        'ONNX has',
    ),
    ('test.py', 'detector.py detector.pth --data-root no', "no annotation file 'no/annotations/val.json'"),
    (
        'test.py',
        'detector.py detector.pth --out x.json',
        "--out was 'x.json': predictions are written as .pkl",
    ),
    ('test.py', 'detector.py detector.pth --out file/x.pkl', f'--out file/x.pkl: {IN_THE_WAY}'),
    ('test.py', 'detector.py detector.pth --out a.pkl', '--out a.pkl: there is a folder of this name'),
    ('test.py', 'detector.py detector.pth --show-dir {}/file', f'--show-dir {{}}/file: {IN_THE_WAY}'),
    ('test.py', 'detector.py detector.pth --work-dir file', f'--work-dir file: {IN_THE_WAY}'),
    ('test.py', 'detector.py detector.pth --wait-time soon', "--wait-time: invalid float value: 'soon'"),
    ('cost.py', '', 'the following arguments are required: config'),
    ('cost.py', *NO_DETECTOR),
    ('cost.py', *NO_PYTHON),
    ('cost.py', 'no_model.py', "config 'no_model.py' has no model"),
    ('cost.py', f'detector.py {NO_RULE[0]}', NO_RULE[1]),
    ('cost.py', f'detector.py {NO_BLOCK[0]}', NO_BLOCK[1]),
    ('cost.py', f'detector.py {NO_VALUE[0]}', NO_VALUE[1]),
    ('cost.py', 'detector.py detector.py', 'a config is given twice'),
    ('cost.py', 'detector.py --shape 0', '--shape takes height and width, as 320 480 or'),
    ('cost.py', 'detector.py --shape 1 2 3', '--shape takes height and width, as 320 480 or'),
    (
        'cost.py',
        'detector.py --shape wide',
        "--shape takes height and width, as 320 480 or 320x480, or one number for both; got 'wide'",
    ),
    ('cost.py', 'detector.py --baseline bogus', "argument --baseline: invalid choice: 'bogus'"),
    (
        'cost.py',
        'stock.py --baseline plain',
        '--baseline plain takes inserted attention out of stock.py, and RetinaNet has no attention that '
        'attach() put there; give the config without attention as the first one instead',
    ),
    ('cost.py', 'detector.py --dtype fp64', "argument --dtype: invalid choice: 'fp64'"),
    ('cost.py', 'detector.py --device bogus', "argument --device: 'bogus' cannot be used: "),
    ('cost.py', 'detector.py --repeats 1', '--repeats is at least 2'),
    ('cost.py', 'detector.py --plot file/x.png', f'--plot file/x.png: {IN_THE_WAY}'),
    ('cost.py', 'detector.py --shape 32 --plot x.doc', "no plot: ValueError: Format 'doc' is not supported"),
    ('check_data.py', '', 'the following arguments are required: config\n'),
    ('check_data.py', *NO_DETECTOR),
    ('check_data.py', *NO_PYTHON),
    ('check_data.py', f'detector.py {NO_VALUE[0]}', NO_VALUE[1]),
    ('check_data.py', 'detector.py --data-root no', "no annotation file 'no/annotations/train.json'"),
    ('check_data.py', 'detector.py --limit 0', '--limit is at least 1'),
    ('check_data.py', 'detector.py --out file/x.jpg', f'--out file/x.jpg: {IN_THE_WAY}'),
    ('check_data.py', 'detector.py --out x.doc', "--out was 'x.doc': the sheet is written as .jpg or .png"),
    ('sites.py', '', 'the following arguments are required: config\n'),
    ('sites.py', *NO_DETECTOR),
    ('sites.py', *NO_PYTHON),
    ('sites.py', 'no_model.py', "config 'no_model.py' has no model"),
    ('sites.py', f'detector.py {NO_RULE[0]}', NO_RULE[1]),
    ('sites.py', f'detector.py {NO_VALUE[0]}', NO_VALUE[1]),
    ('sites.py', 'detector.py neck.x --shape 32', "no site matches 'neck.x'; nearest: "),
    ('sites.py', 'detector.py --shape -3', '--shape takes height and width, as 320 480 or'),
    ('sites.py', 'stock.py --shape 32 --blocks CBMA', "'mmattn.CBMA' is not registered; did you mean"),
    ('sites.py', 'stock.py --shape 32 --blocks SKConv', "the cost of SKConv depends on 'out_channels'"),
    ('show_attention.py', 'detector.py detector.pth', 'give IMAGE|FOLDER or --dataset, one of them'),
    ('show_attention.py', 'detector.py detector.pth images --dataset val', 'give IMAGE|FOLDER or --dataset'),
    ('show_attention.py', f'{NO_DETECTOR[0]} detector.pth images', NO_DETECTOR[1]),
    ('show_attention.py', f'{NO_PYTHON[0]} detector.pth images', NO_PYTHON[1]),
    ('show_attention.py', f'detector.py detector.pth images {NO_RULE[0]}', NO_RULE[1]),
    ('show_attention.py', 'detector.py no.pth images', "no checkpoint file 'no.pth'; looked in "),
    ('show_attention.py', 'detector.py text.txt images', "'text.txt' cannot be read as a checkpoint: "),
    ('show_attention.py', 'detector.py detector.pth no', "no image or folder 'no'; looked in "),
    ('show_attention.py', 'detector.py detector.pth folder', "no images in 'folder'; looked for .jpg"),
    ('show_attention.py', 'detector.py detector.pth text.txt', "'text.txt' cannot be read as an image"),
    (
        'show_attention.py',
        'detector.py detector.pth images --sites neck.x',
        "'neck.x' matches no site that has a gate",
    ),
    ('show_attention.py', 'detector.py detector.pth images --out-dir file', f'--out-dir file: {IN_THE_WAY}'),
    ('show_attention.py', 'detector.py detector.pth images --limit -1', '--limit is at least 0'),
    (
        'show_attention.py',
        'detector.py detector.pth images --score-thr a',
        "--score-thr: invalid float value: 'a'",
    ),
    (
        'show_attention.py',
        'detector.py detector.pth images --device bogus',
        "--device: 'bogus' cannot be used",
    ),
    (
        'show_attention.py',
        'detector.py detector.pth images --compare detector.py detector.pth',
        '--compare was given the first config and checkpoint again',
    ),
    (
        'show_attention.py',
        'stock.py stock.pth images',
        'no gates in stock: it has no attention block of mmattn. Give',
    ),
    ('show_attention.py', 'detector.py detector.pth --dataset bogus', "--dataset: invalid choice: 'bogus'"),
    (
        'show_attention.py',
        'detector.py detector.pth --dataset val --data-root no',
        "'no/annotations/val.json' (val_dataloader.dataset.ann_file). Set the data root with --data-root",
    ),
    ('adapter.py', '', 'the following arguments are required: command'),
    ('adapter.py', 'bogus', "argument command: invalid choice: 'bogus'"),
    ('adapter.py', 'save no.pth x.safetensors', "no checkpoint file 'no.pth'; looked in "),
    ('adapter.py', 'save text.txt x.safetensors', "'text.txt' cannot be read as a checkpoint: "),
    ('adapter.py', 'save empty.pth x.safetensors', "'empty.pth' cannot be read as a checkpoint: "),
    ('adapter.py', 'save three.pth x.safetensors', "'three.pth': this is not a checkpoint"),
    ('adapter.py', 'save stock.pth x.safetensors', 'the checkpoint has no attention to save'),
    ('adapter.py', 'save detector.pth x.safetensors --base three.pth', "'three.pth' (--base): this is not a"),
    (
        'adapter.py',
        'save detector.pth text.txt',
        "text.txt' exists already: name another file, or replace it",
    ),
    (
        'adapter.py',
        'save detector.pth no/x.safetensors',
        "no/x.safetensors' cannot be written: there is no folder",
    ),
    ('adapter.py', 'merge stock.pth no.safetensors x.pth', "no adapter file 'no.safetensors'"),
    ('adapter.py', 'merge detector.pth adapter.safetensors x.pth', "'detector.pth' has attention already"),
    ('adapter.py', 'check changed.pth adapter.safetensors', "the weights of 'changed.pth' are not those"),
    ('adapter.py', 'check stock.pth text.txt', "'text.txt' is damaged, or not a safetensors file"),
    ('adapter.py', 'list detector.pth', "'detector.pth' is damaged, or not a safetensors file"),
    ('blocks.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('list_configs.py', 'no', "no folder 'no'; looked in "),
    ('list_configs.py', 'folder', "no configs in 'folder'"),
    ('list_configs.py', 'broken', "config 'broken/a.py' cannot be read: SyntaxError: "),
    ('make_shapes.py', '--train many', "argument --train: invalid int value: 'many'"),
    ('make_shapes.py', '--out new --val 0', 'val=0 of the shapes data set: give a whole number from 1'),
    ('make_shapes.py', '--out new --workers 0', 'workers=0'),
    (
        'make_shapes.py',
        '--out folder_with_file',
        'exists and is not a shapes data set (it has no shapes.json)',
    ),
    ('make_shapes.py', '--out file/below', f'--out file/below: {IN_THE_WAY}'),
    ('demo.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('demo.py', f'--config {NO_DETECTOR[0]} --data-root new', NO_DETECTOR[1]),
    ('demo.py', f'--config {NO_PYTHON[0]} --data-root new', NO_PYTHON[1]),
    ('demo.py', '--config detector.py --data-root new', "config 'detector.py' has no train_cfg.max_iters"),
    ('demo.py', f'--data-root new {NO_VALUE[0]}', NO_VALUE[1]),
    ('demo.py', '--data-root folder_with_file', 'exists and is not a shapes data set'),
    ('demo.py', '--data-root file/below', f'--data-root file/below: {IN_THE_WAY}'),
    ('demo.py', '--data-root new --work-dir file/below', IN_THE_WAY),
    ('study.py', '', 'the following arguments are required: COMMAND'),
    ('study.py', 'run no.py', "no study config 'no.py' (looked in "),
    ('study.py', 'run detector.py', "detector.py has no 'base'; possible: "),
    ('study.py', 'run syntax.py', 'syntax.py'),
    ('study.py', 'run detector.py --workers 0', '--workers is at least 1'),
    ('study.py', 'run detector.py --work-dir file/below', IN_THE_WAY),
    ('study.py', 'status folder', "'folder' is not the folder of a study: it has no study.json"),
    ('study.py', 'report folder', "'folder' is not the folder of a study: it has no study.json"),
    ('study.py', 'report folder --relevant 0', '--relevant is above 0 and below 100'),
    ('study.py', 'compare text.txt empty.pth --ann no.json', 'no.json'),
    ('study.py', 'search no.py', "no study config 'no.py' (looked in "),
    ('study.py', 'search detector.py', "detector.py has no 'base'; possible: "),
    ('study.py', 'search detector.py --workers 0', '--workers is at least 1'),
    ('doctor.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('dev/build_mmcv.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('dev/house_map.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('dev/chinese.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('dev/commands_page.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('dev/dist.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('dev/tutorial.py', '--bogus', 'unrecognized arguments: --bogus'),
    ('convert_checkpoint.py', '--bogus', 'the following arguments are required: SRC, OUT'),
    ('dev/setup_env.py', '', 'python3 tools/dev/setup_env.py .venv'),
]


@pytest.mark.parametrize('tool, arguments, says', MISTAKES, ids=[f'{row[0]} {row[1]}' for row in MISTAKES])
def test_a_mistake_is_a_message_and_exit_code_2(tool, arguments, says, in_files, run_tool):
    before = sorted(os.listdir())
    done = run_tool(tool, *shlex.split(arguments.format(in_files)))
    assert done.code == 2, done
    assert says.format(in_files) in re.sub(r"'/\S*/file'", "/file'", done.err)
    assert 'Traceback' not in done.err
    # nothing but the message, with argparse's lines on usage
    assert re.match(rf'(usage: \S+|{os.path.basename(tool)}: |Make the virtual environment)', done.err)
    assert set(os.listdir()) - set(before) <= {'work_dirs'}


def test_every_tool_is_in_the_table(request):
    tools = request.config.rootpath / 'tools'
    paths = {path.relative_to(tools).as_posix() for path in (*tools.glob('*.py'), *tools.glob('dev/*.py'))}
    assert {tool for tool, *_ in MISTAKES} == paths - {'dev/ninja_pch.py'}  # which hands all on to ninja


def test_amp_needs_a_gpu(in_files, run_tool, monkeypatch):
    monkeypatch.setattr(sys.modules['mmattn.engine.launch'], 'get_device', lambda: 'cpu')
    done = run_tool('train.py', 'detector.py', '--amp')
    assert done.code == 2 and done.err.startswith(
        'train.py: --amp was asked for, but this machine has no GPU'
    )


@pytest.mark.parametrize('value, shown', [('1', True), ('0', False), ('', False)])
def test_debug_shows_the_traceback_too(value, shown, in_files, run_tool, monkeypatch):
    monkeypatch.setenv('MMATTN_DEBUG', value)
    done = run_tool('sites.py', 'nowhere.py')
    assert done.code == 2
    assert done.err.startswith('Traceback (most recent call last)') == shown
    assert done.err.splitlines()[-1].startswith('sites.py: no model was built from nowhere.py: ')


def test_an_error_in_the_training_loop_is_no_mistake(in_files, run_tool, monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise ValueError('the loss is not finite')

    monkeypatch.setattr('mmdet.models.RetinaNet.loss', fail)
    with pytest.raises(ValueError, match='the loss is not finite'):
        run_tool('train.py', 'detector.py', '--work-dir', tmp_path)


def test_a_program_ends_so_too(in_files, request):
    """In a process of its own, as a user runs it."""
    project = request.config.rootpath
    done = subprocess.run(
        [sys.executable, project / 'tools/train.py', 'detector.py', *NO_RULE[0].split()],
        text=True,
        capture_output=True,
        env={**os.environ, 'PYTHONPATH': str(project)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f'train.py: {NO_RULE[1]}') and done.stderr.count('\n') == 1
