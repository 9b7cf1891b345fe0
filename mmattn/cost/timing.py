"""Measure time and memory of several detectors side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median, quantiles

import torch
from mmdet.testing import demo_mm_inputs
from torch import nn
from torch.profiler import ProfilerActivity, profile

DTYPES = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)
"""Autocast dtype by name; fp32 runs without autocast."""


@dataclass(frozen=True)
class Timing:
    """Durations of the timed runs of one function.

    Attributes:
        seconds: Duration of each run, in order; at least two.
        images: Number of images per run.
    """

    seconds: tuple[float, ...]
    images: int

    @property
    def median(self) -> float:
        """Median duration in seconds."""
        return median(self.seconds)

    @property
    def p10(self) -> float:
        """10th percentile of the durations."""
        return self._deciles()[0]

    @property
    def p90(self) -> float:
        """90th percentile of the durations."""
        return self._deciles()[-1]

    @property
    def images_per_second(self) -> float:
        """Images per second at the median duration."""
        return self.images / self.median

    def ratio(self, base: Timing) -> float:
        """Return the median of the ratios to the runs of ``base`` in the same round."""
        return median(one / other for one, other in zip(self.seconds, base.seconds))

    def _deciles(self) -> list[float]:
        return quantiles(self.seconds, n=10, method='inclusive')


def time_interleaved(
    functions: Mapping[str, Callable[[], object]],
    repeats: int = 10,
    warmup: int = 3,
    images: int = 1,
    device: str | torch.device = 'cpu',
) -> dict[str, Timing]:
    """Time several functions in rounds, with one run of each per round.

    A machine that slows down then slows all of them alike. Every second round goes backwards, so that no
    function always follows the same other one.

    Args:
        functions: Functions to time, by name.
        repeats: Number of timed rounds.
        warmup: Number of rounds before them.
        images: Number of images that each run processes.
        device: Device to synchronize with before the clock is read.
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
    return {name: Timing(tuple(each), images) for name, each in seconds.items()}


def inference(
    model: nn.Module, size: tuple[int, int], batch: int = 1, dtype: str = 'fp32'
) -> Callable[[], object]:
    """Return a function that predicts on random images, with decoding and suppression of boxes."""
    data = _random_batch(model, size, batch, False)

    def run():
        model.eval()
        with torch.no_grad(), _autocast(model, dtype), _on_random_data(model):
            return model(**data, mode='predict')

    return run


def training_step(
    model: nn.Module, size: tuple[int, int], batch: int = 2, dtype: str = 'fp32'
) -> Callable[[], object]:
    """Return a function that runs a training step on random images with ten random objects each.

    A step is losses, backward pass and SGD with learning rate 0, which leaves the weights as they are.
    """
    data = _random_batch(model, size, batch, True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0, momentum=0.9)

    def run():
        model.train()
        optimizer.zero_grad()
        with _autocast(model, dtype), _on_random_data(model):
            loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
        optimizer.step()

    return run


def peak_memory(function: Callable[[], object], device: str | torch.device = 'cpu') -> int:
    """Return the bytes that ``function`` allocates at its peak, by PyTorch's allocator."""
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
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak


def _random_batch(model: nn.Module, size: tuple[int, int], batch: int, training: bool) -> dict:
    device = next(model.parameters()).device
    classes = _num_classes(model)
    packed = demo_mm_inputs(
        batch,
        [(3, *size)] * batch,
        [10] * batch,
        num_classes=max(classes, 2),  # it draws labels from 1 on
        with_mask=getattr(getattr(model, 'roi_head', None), 'with_mask', False),
    )
    for sample in packed['data_samples']:
        sample.gt_instances.labels.clamp_(max=classes - 1)
    model.data_preprocessor.to(device)
    data = model.data_preprocessor(packed, training)
    return dict(inputs=data['inputs'], data_samples=data['data_samples'])


@contextmanager
def _on_random_data(model: nn.Module) -> Iterator[None]:
    """Say what a model was given that fails at it."""
    try:
        yield
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{type(model).__name__} cannot be timed: it was given random images with upright boxes, for '
            f'detectors of MMDetection, and that raised {type(error).__name__}: {error}'
        ) from error


def _num_classes(model: nn.Module) -> int:
    counts = [getattr(module, 'num_classes', None) for module in model.modules()]
    return max((count for count in counts if isinstance(count, int)), default=80)


def _autocast(model: nn.Module, dtype: str):
    half = DTYPES[dtype]
    return nullcontext() if half is None else torch.autocast(next(model.parameters()).device.type, half)
