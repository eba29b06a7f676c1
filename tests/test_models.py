"""Models trained with ``nn.Upsample`` and with ours: the same losses, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cupysample.torch

STEPS = 50


class UNet(nn.Module):
    """Two levels down and up: bilinear and nearest upsampling, skip connections, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.ModuleList([self.block(3, 8), self.block(8, 16), self.block(16, 16)])
        self.up = nn.ModuleList(
            [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Upsample(scale_factor=2)]
        )
        self.decode = nn.ModuleList([self.block(32, 8), self.block(16, 8)])
        self.head = nn.Conv2d(8, 2, 1)

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Sequential:
        """Convolution, normalisation, activation."""
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for encode in self.encode:
            x = encode(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for up, decode, skip in zip(self.up, self.decode, skips[-2::-1], strict=True):
            x = decode(torch.cat([up(x), skip], dim=1))
        return self.head(x)


class SuperResolution(nn.Module):
    """A residual over bicubic upsampling, as image super-resolution has it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Upsample(scale_factor=3, mode="bicubic")
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=3))
        self.residual = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.residual(self.features(x))


def segmentation(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return F.cross_entropy(model(x), (x.mean(dim=1) > 0).long())


def restoration(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return F.mse_loss(model(F.avg_pool2d(x, 3)), x)


Task = tuple[type[nn.Module], Callable[[Callable[[Tensor], Tensor], Tensor], Tensor], int]
TASKS: dict[str, Task] = {"U-Net": (UNet, segmentation, 16), "super-resolution": (SuperResolution, restoration, 18)}


def train(task: Task, *, ours: bool, compiled: bool) -> tuple[list[float], Tensor]:
    """The losses of STEPS steps from the same seed, and the parameters after them."""
    make, loss_of, extent = task
    torch.manual_seed(0)
    model = make()
    if ours:
        cupysample.torch.patch(model)
        assert any(isinstance(each, cupysample.torch.Upsample) for each in model.modules())
    run = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(STEPS):
        noise = torch.randn(4, 3, extent + 4, extent + 4, generator=torch.Generator().manual_seed(step))
        x = 3 * F.avg_pool2d(noise, 5, stride=1)
        loss = loss_of(run, x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses, torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("task", TASKS)
def test_same_losses(task: str, compiled: bool) -> None:
    theirs, _ = train(TASKS[task], ours=False, compiled=False)
    ours, parameters = train(TASKS[task], ours=True, compiled=compiled)
    assert torch.tensor(ours).sub(torch.tensor(theirs)).abs().max() <= 1e-5
    assert sum(theirs[-5:]) < 0.9 * sum(theirs[:5])  # it learns
    again, repeated = train(TASKS[task], ours=True, compiled=compiled)
    assert again == ours
    assert torch.equal(parameters, repeated)
