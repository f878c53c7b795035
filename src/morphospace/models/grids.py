"""What towers need for codes that lie on a grid: (B, h w d), row by row, the d numbers of each place together."""

from __future__ import annotations

from torch import Tensor, nn

from morphospace.models.towers import Look


class GridBlock(nn.Module):
    """x + 1x1(act(norm(3x3(act(x))))) for maps (B, C, h, w) (van den Oord et al. 2017, section 4.1)."""

    def __init__(self, channels: int, look: Look) -> None:
        super().__init__()
        wide = nn.Conv2d(channels, channels, 3, padding=1, bias=look.bias)
        # The first activation must not change its input in place, which is added afterwards.
        first, last = look.nonlinearity(inplace=False), nn.Conv2d(channels, channels, 1)
        self.body = nn.Sequential(first, wide, *look.after(channels), last)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.body(maps)


class GridHead(nn.Module):
    """Maps (B, C, h, w), flattened -> codes (B, h w d): residual blocks, then one layer at each place.

    Args:
        base: (C, h, w).
        dim: Numbers d at each place.
        blocks: Residual blocks.
        look: Norm and activation.
    """

    def __init__(self, base: tuple[int, int, int], dim: int, blocks: int, look: Look) -> None:
        super().__init__()
        self.base = base
        self.blocks = nn.Sequential(*(GridBlock(base[0], look) for _ in range(blocks)))
        self.output = nn.Conv2d(base[0], dim, 1)

    def forward(self, values: Tensor) -> Tensor:
        return self.output(self.blocks(values.view(-1, *self.base))).permute(0, 2, 3, 1).flatten(1)


class GridStem(nn.Module):
    """Codes (B, h w d) -> maps (B, C, h, w): one layer around each place, residual blocks, then norm and activation.

    Args:
        base: (C, h, w).
        dim: Numbers d at each place.
        blocks: Residual blocks.
        look: Norm and activation.
    """

    def __init__(self, base: tuple[int, int, int], dim: int, blocks: int, look: Look) -> None:
        super().__init__()
        self.places = (*base[1:], dim)
        self.input = nn.Conv2d(dim, base[0], 3, padding=1)
        self.blocks = nn.Sequential(*(GridBlock(base[0], look) for _ in range(blocks)), *look.after(base[0]))

    def forward(self, z: Tensor) -> Tensor:
        return self.blocks(self.input(z.view(-1, *self.places).permute(0, 3, 1, 2)))
