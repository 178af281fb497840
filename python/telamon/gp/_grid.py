"""Gaussian process regression on a grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from telamon.stats._sklearn import BaseEstimator, ConvergenceWarning, NotFittedError

from . import _arguments, _axes, _optimize, _predict
from ._axes import Array
from ._base import Kernel
from ._exact import Evaluation, Exact
from ._gaps import Masked, Settings
from ._problem import Problem, observations, problem


class GridGP(BaseEstimator):
    r"""Gaussian process regression on a grid of any size, with missing cells, noise of any pattern, and derivatives.

    .. math:: y = m + f + \varepsilon, \qquad \operatorname{Cov}(f(x), f(x')) = \prod_i k_i(x_i, x_i'), \qquad
              \operatorname{Cov}(\varepsilon) = s D

    with a kernel for each axis, noise variances D known up to the factor s, and a mean m that is 0 or a constant.
    Hyperparameters maximise the marginal likelihood.

    Parameters
    ----------
    kernels : list of Kernel, or Kernel, optional
        One for each axis. The product has one variance only, so all but the first free one stay as they are. By
        default Matern's with nu = 5/2 and a tenth of the axis as length scale.
    noise : float, optional
        s at the start: the variance of the noise, or the factor of the variances given to `fit`. By default a tenth of
        the data's variance, or 1. If free it stays above a millionth of that variance, or below that where it starts.
    mean : {"zero", "constant"}
        m: none, or the constant that maximises the likelihood.
    fixed_noise : bool, optional
        Whether s stays as it is. By default only where `fit` is given the variances.
    optimizer : {"lbfgs", None}
        None keeps the hyperparameters.
    n_restarts : int
        Further starts, at random; the best wins.
    max_iter : int
        Iterations of a start.
    tol : float
        Stop when no slope of the log marginal likelihood per observation exceeds it.
    dense_limit : int
        Where the axes with gaps have no more observed cells than this together, the product of their kernels is
        decomposed as one dense matrix, and everything is exact. Time grows as the cube.
    n_probes, n_steps : int
        Else the log-determinant is exact but for a part, which is estimated with so many random vectors and at most so
        many steps of Lanczos each. The vectors are the same at every evaluation.
    n_draws : int
        And so many draws estimate the part of a variance that gaps and uneven noise cause: its relative error is
        ``sqrt(2 / n_draws)``.
    rtol : float
        Tolerance of the conjugate gradients there.
    random_state : int
        For restarts, probes, and the draws behind standard deviations.
    verbose : int
        1 shows a progress line.

    Attributes
    ----------
    kernels_ : list of Kernel
    noise_ : float
        s.
    mean_ : float
    theta_ : ndarray
        Free hyperparameters of all kernels, then log s if free; `theta_names_` says which.
    axes_ : list of ndarray
    log_marginal_likelihood_value_ : float
    log_marginal_likelihood_error_ : float
        Its standard error; 0 where exact.
    converged_ : bool
    n_iter_ : int
    n_evaluations_ : int
    message_ : str
        What the optimiser said.
    solver_ : str
        "exact" or "iterative".

    Notes
    -----
    With all cells observed, and noise that is a number or separable, an evaluation costs ``sum n_i^3 + 4 N sum n_i``
    operations and at most eight arrays of N numbers; the gradient is nearly free. Where gaps, or uneven noise, are the
    same all along an axis, as land is in a series of maps, that axis is spared, and the others become one dense factor
    if they have at most `dense_limit` observed cells. Else solves are iterative (`telamon.kron.KroneckerSystem`).

    Slices of the grid without a single observation cost nothing. Standard deviations leave the uncertainty of
    hyperparameters and mean out.

    References
    ----------
    .. [1] Y. Saatci, Scalable inference for structured Gaussian process models, PhD thesis, Cambridge, 2011.
    .. [2] C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press, 2006.
    .. [3] S. Ubaru, J. Chen, Y. Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, SIAM J. Matrix
       Anal. Appl. 38, 1075-1099, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from telamon.gp import RBF, GridGP
    >>> x, t = np.linspace(0, 1, 30), np.linspace(0, 2, 20)
    >>> y = np.sin(6 * x)[:, None] * np.cos(3 * t)
    >>> y[3:6, 4:9] = np.nan
    >>> model = GridGP([RBF(0.3), RBF(0.5)], noise=1e-4).fit([x, t], y)
    >>> mean, std = model.predict([[0.15], [0.7]], return_std=True)
    >>> bool(abs(mean[0, 0] - np.sin(0.9) * np.cos(2.1)) < 1e-2)
    True
    """

    def __init__(
        self,
        kernels: Sequence[Kernel] | Kernel | None = None,
        noise: float | None = None,
        *,
        mean: str = "zero",
        fixed_noise: bool | None = None,
        optimizer: str | None = "lbfgs",
        n_restarts: int = 0,
        max_iter: int = 100,
        tol: float = 1e-5,
        dense_limit: int = 1500,
        n_probes: int = 8,
        n_steps: int = 100,
        n_draws: int = 64,
        rtol: float = 1e-8,
        random_state: int = 0,
        verbose: int = 0,
    ) -> None:
        self.kernels = kernels
        self.noise = noise
        self.mean = mean
        self.fixed_noise = fixed_noise
        self.optimizer = optimizer
        self.n_restarts = n_restarts
        self.max_iter = max_iter
        self.tol = tol
        self.dense_limit = dense_limit
        self.n_probes = n_probes
        self.n_steps = n_steps
        self.n_draws = n_draws
        self.rtol = rtol
        self.random_state = random_state
        self.verbose = verbose

    # ---- fitting

    def fit(self, axes: Any, Y: ArrayLike, mask: ArrayLike | None = None, noise: Any = None) -> GridGP:
        """Fit hyperparameters, and condition on the observations.

        Parameters
        ----------
        axes : list of array_like
            For each axis its points, increasing, in any spacing.
        Y : array_like, shape (n_1, .., n_d)
            NaN is a missing cell.
        mask : array_like of bool, shape (n_1, .., n_d), optional
            True where observed.
        noise : float, tuple of d array_like, or array_like of shape (n_1, .., n_d), optional
            Variances of the noise, known up to the factor s: one, or the outer product of one vector an axis, or one a
            cell. Without, s itself is the variance.

        Returns
        -------
        GridGP
            Itself.

        Raises
        ------
        ValueError
            If axes are unsorted or hold duplicates or NaN, shapes do not fit, variances are not positive, all cells
            are missing, or a parameter is out of its range; the message says how to mend it.

        Warns
        -----
        UserWarning
            If the grid is too coarse for the frequencies of a kernel.
        ConvergenceWarning
            If the optimiser or a solver did not reach its tolerance.
        """
        _arguments.check(self)
        points, y, observed = observations(axes, Y, mask)
        data = problem(points, y, observed, noise, self.dense_limit)
        kernels = _arguments.kernels(self.kernels, points, data.variance)
        self._warn_of_frequencies(kernels, points)
        free = noise is None if self.fixed_noise is None else not self.fixed_noise
        s = _arguments.noise(self.noise, 0.1 * data.variance if noise is None else 1.0)
        self.axes_ = points
        self._data, self._free_noise = data, free
        self._model = self._likelihood(data)
        self.solver_ = "exact" if isinstance(self._model, Exact) else "iterative"
        theta = self._join(kernels, s)
        names = [f"kernels[{i}].{name}" for i, kernel in enumerate(kernels) for name in kernel.names]
        self.theta_names_ = names + ["noise"] * free
        self._template = kernels
        self.kernels_, self.noise_ = kernels, s
        if self.optimizer is not None and theta.size:
            self._maximise(theta, points, data)
            self._posterior = self._model.condition(self.kernels_, self.noise_)
        else:
            self._posterior = self._model.condition(kernels, s)
            evaluation = self._model.evaluate(kernels, s, False, self._posterior)
            self.log_marginal_likelihood_value_ = evaluation.value
            self.log_marginal_likelihood_error_ = evaluation.error
            self.n_iter_, self.n_evaluations_, self.converged_ = 0, 1, evaluation.converged
            self.message_ = "nothing to optimise"
        self.mean_ = self._posterior.mean
        self.theta_ = self._join(self.kernels_, self.noise_)
        return self

    @staticmethod
    def _warn_of_frequencies(kernels: Sequence[Kernel], axes: Sequence[Array]) -> None:
        for text in _optimize.nyquist_warnings(kernels, axes):
            warnings.warn(text, UserWarning, stacklevel=3)

    def _likelihood(self, data: Problem) -> Exact | Masked:
        constant = self.mean == "constant"
        if data.mask is None and data.noise is None:
            return Exact(data, constant)
        settings = Settings(self.n_probes, self.n_steps, self.rtol, self.random_state, self.n_draws)
        return Masked(data, constant, settings)

    def _join(self, kernels: Sequence[Kernel], s: float) -> Array:
        return np.concatenate([*(kernel.theta for kernel in kernels), np.log([s] * self._free_noise)])

    def _split(self, theta: Array) -> tuple[list[Kernel], float]:
        kernels, start = [], 0
        for kernel in self._template:
            count = kernel.theta.size
            kernels.append(kernel.with_theta(theta[start : start + count]))
            start += count
        return kernels, math.exp(theta[start]) if self._free_noise else self.noise_

    def _evaluate(self, theta: Array, gradient: bool) -> tuple[Evaluation, Array]:
        kernels, s = self._split(theta)
        result = self._model.evaluate(kernels, s, gradient)
        return result, np.concatenate([*result.gradients, [result.noise_gradient] * self._free_noise])

    def _maximise(self, theta: Array, axes: list[Array], data: Problem) -> None:
        bounds = [_optimize.default_bounds(kernel, x) for kernel, x in zip(self._template, axes, strict=True)]
        if self._free_noise:
            low, high = 1e-6 * data.variance, 1e2 * data.variance
            low, high = (low, high) if data.noise is None and data.scales is None else (1e-6, 1e6)
            bounds.append(np.log([[min(low, self.noise_), max(high, self.noise_)]]))

        def objective(point: Array) -> tuple[float, float, Array, bool]:
            result, gradient = self._evaluate(point, True)
            return result.value, result.error, gradient, result.converged

        found = _optimize.maximise(
            objective,
            theta,
            np.concatenate(bounds),
            scale=data.count,
            restarts=self.n_restarts,
            max_iter=self.max_iter,
            tol=self.tol,
            rng=np.random.default_rng(self.random_state),
            verbose=self.verbose,
        )
        self.kernels_, self.noise_ = self._split(found.theta)
        self.log_marginal_likelihood_value_ = found.value
        self.log_marginal_likelihood_error_ = found.error
        self.n_iter_, self.n_evaluations_ = found.iterations, found.evaluations
        self.converged_, self.message_ = found.converged, found.message
        if not found.converged:
            warnings.warn(
                f"the marginal likelihood is not at its maximum after {found.iterations} iterations: {found.message}; "
                "raise max_iter, or n_steps where the log-determinant did not settle.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._warn_of_frequencies(self.kernels_, axes)

    def log_marginal_likelihood(self, theta: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """The log marginal likelihood of the observations given to `fit`.

        Parameters
        ----------
        theta : array_like, optional
            In the order of `theta_names_`: logarithms of positive hyperparameters and of s. Default the fitted ones.
        eval_gradient : bool
            Whether to return the derivative in theta as well.

        Returns
        -------
        float, or (float, ndarray)
            Where the solver is iterative, an estimate, with the same probes at each call, and the gradient of this very
            estimate.
        """
        self._require_fitted()
        point = self.theta_ if theta is None else np.asarray(theta, dtype=np.float64)
        if point.shape != self.theta_.shape:
            raise ValueError(f"'theta' must have shape {self.theta_.shape} for {self.theta_names_}, got {point.shape}.")
        result, gradient = self._evaluate(point, eval_gradient)
        return (result.value, gradient) if eval_gradient else result.value

    def _require_fitted(self) -> None:
        if not hasattr(self, "_posterior"):
            raise NotFittedError(f"this {type(self).__name__} has not been fitted; call fit first.")

    # ---- prediction

    def predict(
        self,
        X: Any = None,
        return_std: bool = False,
        return_cov: bool = False,
        *,
        derivatives: Sequence[int] | None = None,
        include_noise: bool = False,
    ) -> Any:
        """Mean of the posterior of f, or of a derivative, and on request its standard deviation or covariance.

        Parameters
        ----------
        X : list of array_like, or array_like of shape (P, d), optional
            A list of d vectors is the grid that they span, an array the points that are its rows; a vector for d = 1
            is either. Default the axes given to `fit`.
        return_std : bool
            Whether to return standard deviations. Where the solver is iterative, the part of the variance that gaps or
            uneven noise cause is estimated from `n_draws` draws: with 64, a standard deviation has a relative error of
            9 percent in a wide gap, and little elsewhere.
        return_cov : bool
            Whether to return the covariance of at most 2000 points, shape (P, P), instead.
        derivatives : sequence of d int, optional
            The order of the derivative along each axis, up to 4, as far as the kernels are smooth.
        include_noise : bool
            Whether the deviations are those of a new observation, with noise of variance s.

        Returns
        -------
        mean : ndarray, shape (m_1, .., m_d) or (P,)
        std : ndarray of that shape, or cov : ndarray, shape (P, P)
        """
        self._require_fitted()
        if return_std and return_cov:
            raise ValueError("'return_std' and 'return_cov' exclude one another; the covariance has the variances.")
        target = _predict.Target(self.axes_, self.kernels_, X, derivatives)
        mean = _predict.mean(self._data, self._posterior, self.kernels_, target)
        if return_cov:
            cov = _predict.covariance(self._data, self._posterior, self.kernels_, target)
            if include_noise:
                cov.flat[:: len(cov) + 1] += self.noise_
            return mean, cov
        if not return_std:
            return mean
        rng = np.random.default_rng(self.random_state)
        variance = _predict.variance(self._data, self._posterior, self.kernels_, target, rng)
        return mean, np.sqrt(np.maximum(variance, 0.0) + (self.noise_ if include_noise else 0.0))

    def sample_posterior(
        self,
        X: Any = None,
        size: int | None = None,
        *,
        derivatives: Sequence[int] | None = None,
        random_state: Any = None,
    ) -> Array:
        """Draws of f, or of a derivative, given the observations.

        By Matheron's rule: a draw of the prior at observed and new points, corrected by what the data say.

        Parameters
        ----------
        X, derivatives
            As in `predict`; at most 2000 points if they are not a grid.
        size : int, optional
            How many; without it a single one.
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        ndarray, shape (size, m_1, .., m_d) or (size, P); without `size` the first dimension is absent
        """
        self._require_fitted()
        rng = np.random.default_rng(random_state)
        target = _predict.Target(self.axes_, self.kernels_, X, derivatives)
        draws = _predict.posterior_draws(
            self._data, self._posterior, self.kernels_, target, 1 if size is None else size, rng
        )
        return draws[0] if size is None else draws

    def sample_prior(self, axes: Any = None, size: int | None = None, *, random_state: Any = None) -> Array:
        """Draws of f from the prior: with the fitted kernels, or before `fit` with those of the constructor.

        Parameters
        ----------
        axes : list of array_like
            Default those given to `fit`.
        size : int, optional
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        ndarray, shape (size, n_1, .., n_d), or without `size` one grid
        """
        if axes is None:
            self._require_fitted()
            points = self.axes_
        else:
            points = [_axes.axis_points(x, f"axes[{i}]") for i, x in enumerate(axes)]
        kernels = self.kernels_ if hasattr(self, "_posterior") else _arguments.kernels(self.kernels, points, 1.0)
        if len(kernels) != len(points):
            raise ValueError(f"'axes' has {len(points)} entries, there are {len(kernels)} kernels; pass one for each.")
        mean = self.mean_ if hasattr(self, "_posterior") else 0.0
        return mean + _predict.prior_draws(kernels, points, size, np.random.default_rng(random_state))

    def score(self, X: Any, Y: ArrayLike, mask: ArrayLike | None = None) -> float:
        """The coefficient of determination R^2 of the mean at observed cells of a grid.

        Parameters
        ----------
        X : list of array_like
        Y, mask
            As in `fit`.
        """
        axes, y, observed = observations(X, Y, mask)
        residual = (y - self.predict(axes))[observed]
        spread = y[observed] - y[observed].mean()
        return float(1 - residual @ residual / (spread @ spread))
