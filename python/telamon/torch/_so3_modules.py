"""The products of `telamon.torch` as modules, with weights to train."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import _so3_shapes as shapes
from ._so3 import gaunt_conv, gaunt_product, spherical_harmonics

__all__ = ["GauntConv", "GauntProduct", "SphericalHarmonics"]

WEIGHTS = ("none", "degree", "cp")


def _check_lmax(where: str, name: str, x: Tensor, lmax: int, layout: str) -> None:
    axis = -2 if layout == "channels_last" else -1
    wanted = (lmax + 1) ** 2
    if x.ndim < 2 or x.shape[axis] != wanted:
        shape = f"(..., {wanted}, C)" if layout == "channels_last" else f"(..., C, {wanted})"
        raise ValueError(f"{where}: {name} has shape {tuple(x.shape)}; pass {shape}, for lmax = {lmax}")


def _channels(where: str, channels: int | None, weights: str) -> int:
    if channels is None:
        raise ValueError(f"{where}: channels is missing; pass their number with weights={weights!r}")
    return shapes.whole(where, "channels", channels, 1)


class GauntProduct(nn.Module):
    """`gaunt_product` of fixed degrees, with weights to train or without.

    Parameters
    ----------
    lmax1, lmax2 : int
        The degrees of x and y.
    lmax_out : int, optional
        At most lmax1 + lmax2; by default the larger of them.
    channels : int, optional
        Needed for weights.
    weights : {"none", "degree", "cp"}
        "degree": a weight for each degree and channel of x, y and the result, ones to begin with. "cp": a sum of `rank`
        such products, with normally distributed weights to begin with, which approaches a weight for each path.
    rank : int
        The number of products of "cp".
    parity, group, normalization, layout, method
        As in `gaunt_product`.
    device, dtype
        Of the weights.

    Attributes
    ----------
    weight_x, weight_y, weight_out : Parameter or None
        (degrees, channels) or (rank, degrees, channels).
    """

    weight_x: nn.Parameter | None
    weight_y: nn.Parameter | None
    weight_out: nn.Parameter | None

    def __init__(
        self,
        lmax1: int,
        lmax2: int,
        lmax_out: int | None = None,
        channels: int | None = None,
        *,
        weights: str = "none",
        rank: int = 1,
        parity: str = "even",
        group: str = "O3",
        normalization: str = "component",
        layout: str = "channels_last",
        method: str = "auto",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        where = "telamon.torch.GauntProduct"
        self.lmax1 = shapes.whole(where, "lmax1", lmax1, 0)
        self.lmax2 = shapes.whole(where, "lmax2", lmax2, 0)
        self.lmax_out = shapes.lmax_out_of(where, lmax_out, max(lmax1, lmax2), lmax1 + lmax2, "lmax1 + lmax2")
        for name, value, allowed in (
            ("weights", weights, WEIGHTS),
            ("parity", parity, shapes.PARITIES),
            ("group", group, shapes.GROUPS),
            ("normalization", normalization, shapes.NORMALIZATIONS),
            ("layout", layout, shapes.LAYOUTS),
            ("method", method, shapes.METHODS),
        ):
            shapes.choice(where, name, value, allowed)
        self.channels, self.weights, self.rank = channels, weights, shapes.whole(where, "rank", rank, 1)
        self.parity, self.group, self.normalization, self.layout, self.method = (
            parity,
            group,
            normalization,
            layout,
            method,
        )
        for name, lmax in (("weight_x", self.lmax1), ("weight_y", self.lmax2), ("weight_out", self.lmax_out)):
            weight = None
            if weights != "none":
                shape = [lmax + 1, _channels(where, channels, weights)]
                weight = nn.Parameter(
                    torch.empty([rank, *shape] if weights == "cp" else shape, device=device, dtype=dtype)
                )
            self.register_parameter(name, weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Give the weights the values they begin with."""
        for weight in (self.weight_x, self.weight_y, self.weight_out):
            if weight is not None and self.weights == "degree":
                nn.init.ones_(weight)
            elif weight is not None:
                # The variance of the sum over the ranks is that of one product.
                nn.init.normal_(weight, std=self.rank**-0.5 if weight is self.weight_out else 1.0)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """gaunt_product(x, y): (..., (lmax_out+1)^2, C), or a pair for parity "complete" of group "O3"."""
        where = "telamon.torch.GauntProduct"
        _check_lmax(where, "x", x, self.lmax1, self.layout)
        _check_lmax(where, "y", y, self.lmax2, self.layout)
        weights = None if self.weights == "none" else (self.weight_x, self.weight_y, self.weight_out)
        return gaunt_product(
            x,
            y,
            self.lmax_out,
            weights=weights,
            parity=self.parity,
            group=self.group,
            normalization=self.normalization,
            layout=self.layout,
            method=self.method,
        )

    def extra_repr(self) -> str:
        text = f"{self.lmax1}, {self.lmax2}, {self.lmax_out}"
        text += "" if self.channels is None else f", channels={self.channels}"
        text += {"none": "", "degree": ", weights='degree'", "cp": f", weights='cp', rank={self.rank}"}[self.weights]
        if self.parity != "even":
            text += f", parity={self.parity!r}, group={self.group!r}"
        for name, default in (("normalization", "component"), ("layout", "channels_last"), ("method", "auto")):
            value = getattr(self, name)
            text += "" if value == default else f", {name}={value!r}"
        return text


class SphericalHarmonics(nn.Module):
    """`spherical_harmonics` of all degrees up to lmax: (..., 3) to (..., (lmax+1)^2).

    Parameters
    ----------
    lmax : int
    normalize, normalization
        As in `spherical_harmonics`.
    """

    def __init__(self, lmax: int, normalize: bool = True, normalization: str = "component") -> None:
        super().__init__()
        where = "telamon.torch.SphericalHarmonics"
        self.lmax = shapes.whole(where, "lmax", lmax, 0)
        shapes.choice(where, "normalization", normalization, shapes.NORMALIZATIONS)
        self.normalize, self.normalization = normalize, normalization

    def forward(self, r: Tensor) -> Tensor:
        """Y(r / |r|)."""
        return spherical_harmonics(range(self.lmax + 1), r, self.normalize, self.normalization)

    def extra_repr(self) -> str:
        return f"{self.lmax}, normalize={self.normalize}, normalization={self.normalization!r}"


class GauntConv(nn.Module):
    """`gaunt_conv` of fixed degrees, with a weight for each degree of the filter and channel, or without.

    Parameters
    ----------
    lmax : int
        The degree of x.
    lmax_filter : int
        The degree of the filter.
    lmax_out : int, optional
        At most lmax + lmax_filter; by default lmax.
    channels : int, optional
        Needed for weights.
    weights : {"none", "degree"}
        "degree": the filter's weights are multiplied by `weight`, ones to begin with.
    normalization, layout
        As in `gaunt_conv`.
    device, dtype
        Of the weights.

    Attributes
    ----------
    weight : Parameter or None
        (lmax_filter + 1, channels).
    """

    weight: nn.Parameter | None

    def __init__(
        self,
        lmax: int,
        lmax_filter: int,
        lmax_out: int | None = None,
        channels: int | None = None,
        *,
        weights: str = "none",
        normalization: str = "component",
        layout: str = "channels_last",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        where = "telamon.torch.GauntConv"
        self.lmax = shapes.whole(where, "lmax", lmax, 0)
        self.lmax_filter = shapes.whole(where, "lmax_filter", lmax_filter, 0)
        self.lmax_out = shapes.lmax_out_of(where, lmax_out, lmax, lmax + lmax_filter, "lmax + lmax_filter")
        shapes.choice(where, "weights", weights, WEIGHTS[:2])
        shapes.choice(where, "normalization", normalization, shapes.NORMALIZATIONS)
        shapes.choice(where, "layout", layout, shapes.LAYOUTS)
        self.channels, self.weights, self.normalization, self.layout = channels, weights, normalization, layout
        weight = None
        if weights == "degree":
            size = (self.lmax_filter + 1, _channels(where, channels, weights))
            weight = nn.Parameter(torch.empty(size, device=device, dtype=dtype))
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Give the weights the values they begin with."""
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def forward(
        self,
        x: Tensor,
        directions: Tensor,
        filter_weights: Tensor | None = None,
        *,
        senders: Tensor | None = None,
        receivers: Tensor | None = None,
        num_receivers: int | None = None,
    ) -> Tensor:
        """gaunt_conv(x, directions, filter_weights): (num_receivers or edges, (lmax_out+1)^2, C)."""
        _check_lmax("telamon.torch.GauntConv", "x", x, self.lmax, self.layout)
        if self.weight is not None:
            own = self.weight.expand(directions.shape[0], *self.weight.shape)
            if filter_weights is None:
                filter_weights = own
            else:
                filter_weights = own * (filter_weights if filter_weights.ndim == 3 else filter_weights[..., None])
        return gaunt_conv(
            x,
            directions,
            filter_weights,
            self.lmax_out,
            lmax_filter=self.lmax_filter,
            senders=senders,
            receivers=receivers,
            num_receivers=num_receivers,
            normalization=self.normalization,
            layout=self.layout,
        )

    def extra_repr(self) -> str:
        text = f"{self.lmax}, {self.lmax_filter}, {self.lmax_out}"
        text += "" if self.channels is None else f", channels={self.channels}"
        text += "" if self.weights == "none" else f", weights={self.weights!r}"
        for name, default in (("normalization", "component"), ("layout", "channels_last")):
            value = getattr(self, name)
            text += "" if value == default else f", {name}={value!r}"
        return text
