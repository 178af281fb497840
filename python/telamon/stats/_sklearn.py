"""scikit-learn's base classes where it is installed, and as much of them as the mixture needs where not. Internal."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    BaseEstimator: Any
    DensityMixin: Any
    ConvergenceWarning: type[Warning]
    NotFittedError: type[Exception]
    validate_data: Any
else:
    try:
        from sklearn.base import BaseEstimator, DensityMixin
        from sklearn.exceptions import ConvergenceWarning, NotFittedError
        from sklearn.utils.validation import validate_data  # scikit-learn 1.6
    except ImportError:
        validate_data = None

        class NotFittedError(ValueError, AttributeError):
            """The estimator has no parameters yet."""

        class ConvergenceWarning(UserWarning):
            """EM stopped at max_iter."""

        class DensityMixin:
            """Nothing to add."""

        class BaseEstimator:
            """get_params and set_params, as scikit-learn has them."""

            def get_params(self, deep: bool = True) -> dict[str, Any]:
                """The constructor's arguments."""
                names = list(inspect.signature(type(self).__init__).parameters)[1:]
                return {name: getattr(self, name) for name in names}

            def set_params(self, **params: Any) -> BaseEstimator:
                """Set constructor arguments; returns self."""
                known = self.get_params()
                for name, value in params.items():
                    if name not in known:
                        raise ValueError(f"Invalid parameter {name!r}; valid parameters are {sorted(known)}.")
                    setattr(self, name, value)
                return self


__all__ = ["BaseEstimator", "ConvergenceWarning", "DensityMixin", "NotFittedError", "validate_data"]
