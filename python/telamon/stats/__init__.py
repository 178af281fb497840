"""Directional statistics and covariances built on `telamon.special`.

`vonmises_fisher`
    The von Mises-Fisher distribution, a drop-in for scipy.stats.vonmises_fisher in dimensions 2 to 10^6.
`VonMisesFisherMixture`
    Mixtures of them, by EM, with scikit-learn's conventions; `SufficientStatistics` is what distributed EM adds up.
`matern`, `matern_grad`, `matern_kernel`
    Matern covariance of any smoothness, with derivatives.

Needs NumPy only. The mixture is a `sklearn.base.BaseEstimator` where scikit-learn is installed; it is imported when
first asked for, so importing this module imports neither SciPy nor scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._matern import MaternGradient, matern, matern_grad, matern_kernel
from ._vonmises_fisher import VonMisesFisher, VonMisesFisherFit, VonMisesFisherFrozen, vonmises_fisher

if TYPE_CHECKING:
    from ._mixture import SufficientStatistics, VonMisesFisherMixture

__all__ = [
    "MaternGradient",
    "SufficientStatistics",
    "VonMisesFisher",
    "VonMisesFisherFit",
    "VonMisesFisherFrozen",
    "VonMisesFisherMixture",
    "matern",
    "matern_grad",
    "matern_kernel",
    "vonmises_fisher",
]


def __getattr__(name: str) -> Any:
    if name in ("SufficientStatistics", "VonMisesFisherMixture"):
        from . import _mixture

        return getattr(_mixture, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
