"""How long a detector takes, and what memory, beside another in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median, quantiles

import torch
from mmdet.testing import demo_mm_inputs
from torch import nn
from torch.profiler import ProfilerActivity, profile

DTYPES = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)
"""Names of the precisions: fp32 is without autocast, the others with it."""


@dataclass(frozen=True)
class Timing:
    """Seconds of each run, in the order in which they were made.

    Attributes:
        seconds: At least two.
        pictures: How many each run handles.
    """

    seconds: tuple[float, ...]
    pictures: int

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def p10(self) -> float:
        return self._deciles()[0]

    @property
    def p90(self) -> float:
        return self._deciles()[-1]

    @property
    def pictures_per_second(self) -> float:
        return self.pictures / self.median

    def ratio(self, base: Timing) -> float:
        """Median of the ratios to the runs of ``base`` that were made just before or after."""
        return median(one / other for one, other in zip(self.seconds, base.seconds))

    def _deciles(self) -> list[float]:
        return quantiles(self.seconds, n=10, method='inclusive')


def time_in_turn(
    functions: Mapping[str, Callable[[], object]],
    repeats: int = 10,
    warmup: int = 3,
    pictures: int = 1,
    device: str | torch.device = 'cpu',
) -> dict[str, Timing]:
    """Time several functions, one run of each after the other, so that all meet the same machine.

    Every second round goes backwards, so that none always follows the same one.

    Args:
        functions: What to time, by name.
        repeats: Runs of each that count.
        warmup: Runs of each before, that do not.
        pictures: How many pictures each run handles.
        device: Waited for before the clock is read.
    """
    wait = torch.cuda.synchronize if torch.device(device).type == 'cuda' else lambda: None
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(-warmup, repeats):
        names = list(functions) if number % 2 else list(functions)[::-1]
        for name in names:
            wait()
            start = time.perf_counter()
            functions[name]()
            wait()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(each), pictures) for name, each in seconds.items()}


def inference(
    model: nn.Module, size: tuple[int, int], batch: int = 1, dtype: str = 'fp32'
) -> Callable[[], object]:
    """A function that predicts on random pictures, decoding and suppression of boxes included."""
    data = _pictures(model, size, batch, False)

    def run():
        model.eval()
        with torch.no_grad(), _autocast(model, dtype):
            return model(**data, mode='predict')

    return run


def training_step(
    model: nn.Module, size: tuple[int, int], batch: int = 2, dtype: str = 'fp32'
) -> Callable[[], object]:
    """A function that makes a training step on random pictures with ten random objects each.

    Losses, backward pass and an SGD step, with a learning rate of zero, which leaves the weights as they
    are.
    """
    data = _pictures(model, size, batch, True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0, momentum=0.9)

    def run():
        model.train()
        optimizer.zero_grad()
        with _autocast(model, dtype):
            loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
        optimizer.step()

    return run


def peak_memory(function: Callable[[], object], device: str | torch.device = 'cpu') -> int:
    """Bytes that ``function`` takes at most beyond what was taken before, in PyTorch's allocator."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        function()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == '[memory]']
    taken = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        taken += event.nbytes()
        peak = max(peak, taken)
    return peak


def _pictures(model: nn.Module, size, batch: int, training: bool) -> dict:
    device = next(model.parameters()).device
    packed = demo_mm_inputs(
        batch,
        [(3, *size)] * batch,
        [10] * batch,
        num_classes=_classes(model),
        with_mask=getattr(getattr(model, 'roi_head', None), 'with_mask', False),
    )
    model.data_preprocessor.to(device)
    data = model.data_preprocessor(packed, training)
    return dict(inputs=data['inputs'], data_samples=data['data_samples'])


def _classes(model: nn.Module) -> int:
    counts = [getattr(module, 'num_classes', None) for module in model.modules()]
    return max((count for count in counts if isinstance(count, int)), default=80)


def _autocast(model: nn.Module, dtype: str):
    half = DTYPES[dtype]
    return nullcontext() if half is None else torch.autocast(next(model.parameters()).device.type, half)
