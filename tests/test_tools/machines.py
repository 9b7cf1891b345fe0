"""Machines for tests: network namespaces of this one, each with a name and a cable to a switch."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def missing_reason():
    """The reason why machines cannot be made here; None if they can."""
    if not sys.platform.startswith('linux'):
        return 'network namespaces are Linux alone'
    if shutil.which('ip') is None:
        return 'no `ip` (iproute2), which makes network namespaces'
    if os.geteuid() != 0:
        return 'only root may make network namespaces'
    made = subprocess.run(['ip', 'netns', 'add', 'mmattn-try'], capture_output=True, text=True)
    if made.returncode:
        return f'network namespaces are not allowed here: {made.stderr.strip()}'
    veth = subprocess.run(
        ['ip', '-n', 'mmattn-try', 'link', 'add', 'name', 'end0', 'type', 'veth', 'peer', 'name', 'end1'],
        capture_output=True,
        text=True,
    )
    subprocess.run(['ip', 'netns', 'del', 'mmattn-try'], check=True)
    return f'no veth here: {veth.stderr.strip()}' if veth.returncode else None


class Machine:
    """One machine: programs started on it see its host name and network, and this one's files."""

    def __init__(self, name, namespace):
        self.name = name
        self.namespace = namespace
        self.started = []

    def start(self, command, log, **variables):
        """Start a command on the machine; what it prints goes to the file ``log``."""
        with open(log, 'a') as file:
            process = subprocess.Popen(
                ['ip', 'netns', 'exec', self.namespace, 'unshare', '--uts', 'bash', '-c',
                 f'hostname {self.name} && exec "$@"', 'bash', *map(str, command)],
                env={**os.environ, **variables},
                stdout=file,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.started.append(process)
        return process

    def kill(self):
        """End everything on the machine at once, as a crash does."""
        while pids := self._pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self.started:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)

    def unplug(self):
        """Pull the cable: packets are lost, and nobody is told."""
        subprocess.run(['ip', '-n', self.namespace, 'link', 'set', 'eth0', 'down'], check=True)

    def _pids(self):
        found = subprocess.run(['ip', 'netns', 'pids', self.namespace], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]


@contextlib.contextmanager
def machines(count):
    """Make ``count`` machines named machine-0, machine-1, ... on one switch; give them back afterwards."""
    tag = f'mm{os.getpid() % 100000}'
    made = [Machine(f'machine-{i}', f'{tag}-{i}') for i in range(count)]
    hosts = '127.0.0.1 localhost\n' + ''.join(f'10.77.0.{i + 1} machine-{i}\n' for i in range(count))
    switch = f'{tag}-s'

    def ip(*arguments):
        subprocess.run(['ip', *arguments], check=True)

    try:
        ip('netns', 'add', switch)
        ip('-n', switch, 'link', 'add', 'name', 'br0', 'type', 'bridge')
        ip('-n', switch, 'link', 'set', 'br0', 'up')
        for i, machine in enumerate(made):
            space = machine.namespace
            ip('netns', 'add', space)
            ip(
                '-n',
                space,
                'link',
                'add',
                'name',
                'eth0',
                'type',
                'veth',
                'peer',
                'name',
                f'p{i}',
                'netns',
                switch,
            )
            ip('-n', switch, 'link', 'set', f'p{i}', 'master', 'br0', 'up')
            ip('-n', space, 'addr', 'add', f'10.77.0.{i + 1}/24', 'dev', 'eth0')
            ip('-n', space, 'link', 'set', 'eth0', 'up')
            ip('-n', space, 'link', 'set', 'lo', 'up')
            own = Path('/etc/netns', space)  # `ip netns exec` lays these files over /etc
            own.mkdir(parents=True)
            (own / 'hosts').write_text(hosts)
        yield made
    finally:
        for machine in made:
            machine.kill()
            subprocess.run(['ip', 'netns', 'del', machine.namespace], capture_output=True)
            shutil.rmtree(Path('/etc/netns', machine.namespace), ignore_errors=True)
        subprocess.run(['ip', 'netns', 'del', switch], capture_output=True)


def wait_for(found, seconds, what):
    """Wait until ``found()`` is true."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, f'not within {seconds} s: {what}'
        time.sleep(0.2)
