"""Compile every kernel for a GPU that need not be there; prints its loads and stores as JSON.

A script: the interpreter, which the other tests run under, is chosen when Triton is imported.
"""

import json
import re
import sys

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mmattn.ops.backends.triton import kernels

MAPS = ('x', 'y', 'dy', 'dx', 'z', 'identity', 'out', 'dout', 'd')
GATES = dict(HAS_CHANNEL=True, HAS_SPATIAL=True)
POOLED = dict(HAS_DAVG=True, HAS_DAMAX=False, HAS_DSTATS=False)  # as SE is
NORM, NO_NORM = (dict(HAS_NORM=each) for each in (True, False))
PLAIN_MAP = dict(NO_NORM, WITH_SUMS=False)
OF_POSITIONS = dict(OF_CHANNELS=False, HAS_CHANNEL=True, WITH_AMAX=True)
OF_CHANNELS = dict(OF_CHANNELS=True, HAS_CHANNEL=False, WITH_AMAX=True)
ALL_USES = dict(**GATES, HAS_DY=True, HAS_DAVG=True, HAS_DAMAX=True, HAS_DSTATS=True)
SE_USES = dict(HAS_DY=True, HAS_CHANNEL=True, HAS_SPATIAL=False, **POOLED)
CHANNEL_ONLY = dict(HAS_CHANNEL=True, HAS_SPATIAL=False)
NO_GATE = dict(HAS_CHANNEL=False, HAS_SPATIAL=False)
KERNELS = [
    ('apply_gates', GATES),
    ('apply_gates', CHANNEL_ONLY),
    ('gates_backward', GATES),
    ('gates_backward', dict(HAS_CHANNEL=False, HAS_SPATIAL=True)),
    ('stats_backward', NO_NORM),
    ('stats_backward', NORM),
    ('reduce', dict(OF_POSITIONS, **NO_NORM)),
    ('reduce', dict(OF_POSITIONS, **NORM)),
    ('reduce', dict(OF_CHANNELS, **NO_NORM)),
    ('reduce', dict(OF_CHANNELS, **NORM)),
    ('reduce', dict(OF_CHANNELS, HAS_NORM=False, WITH_AMAX=False)),
    ('map_backward', dict(ALL_USES, **PLAIN_MAP)),
    ('map_backward', dict(SE_USES, **PLAIN_MAP)),
    ('map_backward', dict(ALL_USES, HAS_NORM=True, WITH_SUMS=True)),
    ('map_backward', dict(SE_USES, HAS_NORM=True, WITH_SUMS=False)),
    ('tail', dict(GATES, **NORM)),
    ('tail', dict(CHANNEL_ONLY, **NORM)),
    ('tail', dict(NO_GATE, **NO_NORM)),
    ('tail_backward', dict(GATES, HAS_NORM=True, WITH_D=True, WITH_SUMS=False)),
    ('tail_backward', dict(CHANNEL_ONLY, HAS_NORM=True, WITH_D=True, WITH_SUMS=True)),
    ('tail_backward', dict(NO_GATE, HAS_NORM=True, WITH_D=True, WITH_SUMS=True)),
]
IN_FP64 = [
    ('map_backward', dict(ALL_USES, HAS_NORM=True, WITH_SUMS=True)),
    ('tail', dict(GATES, **NORM)),
    ('tail_backward', dict(GATES, HAS_NORM=True, WITH_D=True, WITH_SUMS=True)),
]


def source(name, flags, dtype, dense, units):
    """As the launcher would give it: pointers to 16 bytes, sizes that are multiples of ``units``."""
    kernel = getattr(kernels, name)
    small = 'fp64' if dtype == 'fp64' else 'fp32'
    constants = dict(flags, ACC=tl.float64 if small == 'fp64' else tl.float32)
    if name == 'join':
        constants['B'] = 256
    else:
        constants.update(DENSE=dense, AC=units, AP=units, BC=16 if dense else 128, BP=128 if dense else 16)
    signature, attributes = {}, {}
    for i, parameter in enumerate(kernel.params):
        if parameter.name in constants:
            signature[parameter.name] = 'constexpr'
            continue
        is_number = parameter.name in kernels._SIZES
        signature[parameter.name] = 'i32' if is_number else '*' + (dtype if parameter.name in MAPS else small)
        if not is_number:
            attributes[(i,)] = [['tt.divisibility', 16]]
    return ASTSource(kernel, signature, constants, attributes)


def main(capabilities, dtypes):
    for capability in capabilities:
        target = GPUTarget('cuda', int(capability), 32)
        cases = [
            (name, flags, dtype, dense, units)
            for name, flags in KERNELS
            for dtype in dtypes
            for dense in (True, False)
            for units in (16, 1)
        ]
        cases += [
            ('join', dict(WITH_AMAX=True), 'fp32', True, 16),
            *((name, flags, 'fp64', True, 2) for name, flags in IN_FP64),
        ]
        for name, flags, dtype, dense, units in cases:
            compiled = triton.compile(source(name, flags, dtype, dense, units), target=target)
            ptx = compiled.asm['ptx']
            print(
                json.dumps(
                    dict(
                        kernel=name,
                        flags=flags,
                        dtype=dtype,
                        dense=dense,
                        units=units,
                        capability=capability,
                        loads=re.findall(r'\bld\.global[\w.:]*', ptx),
                        stores=re.findall(r'\bst\.global[\w.:]*', ptx),
                        atomics=re.findall(r'\b(?:atom|red)\.\w+', ptx),
                        shared=compiled.metadata.shared,
                    )
                )
            )


if __name__ == '__main__':
    main(sys.argv[1].split(','), sys.argv[2].split(','))
