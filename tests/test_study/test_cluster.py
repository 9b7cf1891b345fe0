"""Jobs through submitit: its local executor, and a stand-in for Slurm's programs."""

import builtins
import os
import sys
import textwrap

import pytest

from mmattn.study.cluster import RunTask, job_options, run_on_cluster
from mmattn.study.config import read_study
from mmattn.study.plan import prepare_folders
from mmattn.study.progress import Progress
from mmattn.study.record import read_record, state_of, write_record

# Runs each job of an array at once, one after the other, as sbatch's script says.
SBATCH = """
    import os, pathlib, re, subprocess, sys
    text = pathlib.Path(sys.argv[-1]).read_text()
    here = pathlib.Path(__file__).parent
    script = here / 'script'
    script.write_text(text)
    count = int(re.search('--array=0-([0-9]+)', text)[1]) + 1
    (here / 'states').write_text(''.join(f'77_{i}|RUNNING|here\\n' for i in range(count)))
    jobs = 'import os, subprocess, sys\\n'
    for i in range(count):
        numbers = dict(JOB_ID=80 + i, ARRAY_JOB_ID=77, ARRAY_TASK_ID=i, NTASKS=1, JOB_NUM_NODES=1)
        numbers |= dict(NODEID=0, PROCID=0, LOCALID=0)
        names = {f'SLURM_{name}': str(number) for name, number in numbers.items()}
        jobs += f'subprocess.run(["bash", {str(script)!r}], env=dict(os.environ, **{names}))\\n'
    ended = ''.join(f'77_{i}|COMPLETED|here\\n' for i in range(count))
    jobs += f'open({str(here / "states")!r}, "w").write({ended!r})'
    quiet = dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.DEVNULL)
    subprocess.Popen([sys.executable, '-c', jobs], start_new_session=True, **quiet)
    print('Submitted batch job 77')
"""
SRUN = """
    import os, sys
    command = sys.argv[1:]
    while command[0].startswith('-'):
        command = command[2 if command[0] in ('--output', '--error') else 1:]
    os.execvp(command[0], command)
"""
SACCT = """
    import pathlib
    print('JobID|State|NodeList')
    print((pathlib.Path(__file__).parent / 'states').read_text(), end='')
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stand-ins for Slurm's programs, first on the path."""
    folder = tmp_path / 'slurm'
    folder.mkdir()
    for name, code in dict(sbatch=SBATCH, srun=SRUN, sacct=SACCT).items():
        (folder / name).write_text(f'#!{sys.executable}\n{textwrap.dedent(code)}')
        (folder / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}{os.pathsep}{os.environ["PATH"]}')
    return folder


@pytest.fixture
def runs(a_study, tmp_path, monkeypatch):
    monkeypatch.setattr('mmattn.study.cluster.POLL', 0.2)
    return prepare_folders(read_study(a_study(seeds='[0]')), tmp_path / 'work')


def test_a_job_that_is_stopped_is_queued_again(tmp_path):
    submitit = pytest.importorskip('submitit')
    task = RunTask(str(tmp_path))
    again = task.checkpoint()
    assert isinstance(again, submitit.helpers.DelayedSubmission) and again.function is task


def test_options_have_the_names_of_sbatch():
    assert job_options({}, 'slurm') == dict(name='study', timeout_min=1440, gpus_per_node=1)
    options = job_options(dict(partition='gpu', timeout_min=60, array_parallelism=4), 'slurm')
    assert options == dict(
        name='study', timeout_min=60, gpus_per_node=1, slurm_partition='gpu', slurm_array_parallelism=4
    )


def test_without_submitit_or_slurm_the_error_says_what_to_do(runs, tmp_path, monkeypatch):
    pytest.importorskip('submitit')
    monkeypatch.setenv('PATH', '')
    with pytest.raises(RuntimeError, match='srun') as error:
        run_on_cluster(runs, tmp_path / 'work', Progress(runs), {})
    assert error.value.mistake_text
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name == 'submitit':
            raise ModuleNotFoundError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ModuleNotFoundError, match='--slurm needs submitit, .*pip install submitit'):
        run_on_cluster(runs, tmp_path / 'work', Progress(runs), {})


def test_an_option_that_slurm_lacks_is_refused(runs, slurm, tmp_path):
    pytest.importorskip('submitit')
    with pytest.raises((ValueError, NameError), match='partitoin') as error:
        run_on_cluster(runs, tmp_path / 'work', Progress(runs), dict(partitoin='gpu'))
    assert 'partitoin' in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize('cluster', ['local', 'slurm'])
def test_jobs_train_the_runs(runs, slurm, tmp_path, cluster, capfd):
    pytest.importorskip('submitit')
    work = tmp_path / 'work'
    options = {} if cluster == 'local' else dict(partition='gpu', array_parallelism=2)
    assert run_on_cluster(runs, work, Progress(runs), options, cluster) == []
    assert [state_of(run.folder) for run in runs] == ['finished'] * 2
    assert '2 of 2 runs finished' in capfd.readouterr().out
    if cluster == 'slurm':
        script = (slurm / 'script').read_text()
        for line in ('partition=gpu', 'gpus-per-node=1', 'time=1440', 'array=0-1%2', 'job-name=study'):
            assert f'#SBATCH --{line}\n' in script
    # what is finished is not submitted again, and what fails is told
    write_record(runs[1].folder, dict(read_record(runs[1].folder), status='waiting'))
    (runs[1].folder / 'config.py').write_text('model = dict(\n')
    if cluster == 'local':
        assert run_on_cluster(runs, work, Progress(runs), options, cluster) == runs[1:]
        assert state_of(runs[1].folder) == 'failed' and len(read_record(runs[0].folder)['sessions']) == 1
