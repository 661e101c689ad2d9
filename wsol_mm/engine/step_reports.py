"""What the processes of a training have to agree on after a step, read without waiting for the device."""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmengine.dist import get_comm_device, get_world_size
from torch import Tensor


class StepReport(NamedTuple):
    """What is known of a step.

    Attributes:
        where: Which step, for messages.
        outputs: What the model returned in this process, by name; still on its device.
        is_finite: Whether all losses were finite, in all processes.
        stop: The largest signal that a process of the run was sent; 0 if there was none.
    """

    where: str
    outputs: Mapping[str, Any]
    is_finite: bool
    stop: int


class _Sent(NamedTuple):
    where: str
    outputs: Mapping[str, Any]
    message: Tensor
    work: Any
    ready: Any


class StepReports:
    """Reports of steps, in order: one collective a step, and on a device none is read before the next step.

    A report is (number of steps with a loss that is not finite, signal), the largest of all processes. It is
    made on the device of the losses and copied to the host beside the next step, so that a device always has
    work. On a CPU there is nothing to wait for, and a report is read at once.

    Args:
        delay: How many steps later a report is read; by the device of the losses if None: 0 or 1.
    """

    def __init__(self, delay: int | None = None) -> None:
        self.delay = delay
        self._sent: deque[_Sent] = deque()
        self._on_device = False

    def send(self, where: str, outputs: Mapping[str, Any], stop: int) -> None:
        """Report a step; all processes come here.

        Args:
            where: Which step.
            outputs: What the model returned: numbers by name, of which those are losses whose name says so.
            stop: The signal that this process was sent, or 0.
        """
        losses = [
            torch.as_tensor(value).detach().reshape(()) for name, value in outputs.items() if 'loss' in name
        ]
        losses = losses or [torch.zeros(())]
        self._on_device = losses[0].device.type != 'cpu'
        is_bad = ~torch.stack(losses).isfinite().all()
        message, work = torch.stack((is_bad.long(), torch.full_like(is_bad, stop, dtype=torch.int64))), None
        if get_world_size() > 1:
            message = message.to(get_comm_device(), non_blocking=True)
            work = torch.distributed.all_reduce(message, torch.distributed.ReduceOp.MAX, async_op=True)
        ready = None
        if message.is_cuda:
            if work is not None:  # lets the stream wait, not the host
                work.wait()
                work = None
            host = torch.empty(2, dtype=torch.int64, pin_memory=True)
            message, ready = host.copy_(message, non_blocking=True), torch.cuda.Event()
            ready.record()
        self._sent.append(_Sent(where, outputs, message, work, ready))

    def receive(self, everything: bool = False) -> list[StepReport]:
        """Return the reports that are due.

        Args:
            everything: Whether those of the last steps are due, too; then the host waits for them.
        """
        delay = int(self._on_device) if self.delay is None else self.delay
        reports = []
        while len(self._sent) > (0 if everything else delay):
            sent = self._sent.popleft()
            for awaited in (sent.work, sent.ready):
                if awaited is not None:
                    awaited.wait() if awaited is sent.work else awaited.synchronize()
            is_bad, stop = sent.message.numpy()
            reports.append(StepReport(sent.where, sent.outputs, not is_bad, int(stop)))
        return reports
