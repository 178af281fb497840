"""Mixtures of von Mises-Fisher distributions by expectation maximisation."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _sphere, _validation
from ._progress import Progress
from ._sklearn import BaseEstimator, ConvergenceWarning, DensityMixin, NotFittedError, validate_data
from ._validation import Array, Random
from ._vonmises_fisher import sample


@dataclass(frozen=True)
class SufficientStatistics:
    """What one EM step needs to know of some data, given the parameters before it. They add up with ``+`` and `sum`.

    Attributes
    ----------
    weight : ndarray, shape (n_components,)
        Sum of ``w_i p(k | x_i)``.
    resultant : ndarray, shape (n_components, d)
        Sum of ``w_i p(k | x_i) x_i``.
    log_likelihood : float
        Sum of ``w_i log p(x_i)`` under the parameters before the step.
    n_samples : int
        Number of vectors.
    """

    weight: Array
    resultant: Array
    log_likelihood: float
    n_samples: int

    def __add__(self, other: Any) -> SufficientStatistics:
        if not isinstance(other, SufficientStatistics):
            return self if isinstance(other, int) and other == 0 else NotImplemented
        if self.resultant.shape != other.resultant.shape:
            raise ValueError(f"statistics of shapes {self.resultant.shape} and {other.resultant.shape} do not add up.")
        return SufficientStatistics(
            self.weight + other.weight,
            self.resultant + other.resultant,
            self.log_likelihood + other.log_likelihood,
            self.n_samples + other.n_samples,
        )

    __radd__ = __add__

    @property
    def mean_log_likelihood(self) -> float:
        """Weighted mean of log p(x), what `VonMisesFisherMixture.lower_bound_` is."""
        return self.log_likelihood / float(self.weight.sum())


class VonMisesFisherMixture(DensityMixin, BaseEstimator):
    r"""Mixture of von Mises-Fisher distributions, fitted by EM.

    .. math:: p(x) = \sum_{k} \pi_k C_d(\kappa_k) \exp(\kappa_k \mu_k^T x)

    in logarithms throughout, so any dimension from 2 to 10^6 and any concentration will do. Data are read in blocks of
    rows, in float32 or float64 and also from a memory map; sums are taken in float64.

    Parameters
    ----------
    n_components : int
        Number of components.
    tol : float
        EM stops when the mean log-likelihood of a vector changes by less.
    max_iter : int
        Largest number of EM iterations of one initialisation.
    n_init : int
        Number of initialisations; the best is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'} or array_like of shape (n, n_components)
        Responsibilities at the start: from spherical k-means, from its k-means++ seeds (drawn with probability
        proportional to 1 - cosine), random, from vectors drawn from the data, or given.
    weights_init, means_init, kappas_init : array_like, optional
        Parameters at the start, of shapes (n_components,), (n_components, d) and (n_components,). They replace what
        `init_params` gives.
    max_kappa : float, optional
        Upper limit of the concentrations, without which a component on a single vector grows without bound. Default
        ``5e9 (d - 1)``, where the mean resultant length is 1 - 1e-10.
    normalize : {'warn', True, False}
        What to do with rows that are not unit vectors within 1e-5: scale them with a warning, scale them silently,
        or refuse with ValueError, as SciPy's distribution does. A zero row is always refused.
    chunk_size : int, optional
        Rows in a block; default: about 4 MiB of float64.
    random_state : None, int, numpy.random.RandomState or numpy.random.Generator
        Source of the initialisation and of `sample`.
    warm_start : bool
        If true, `fit` starts from the parameters that an earlier `fit` found.
    verbose : int
        If not 0, a progress bar with the time left is shown on stderr.

    Attributes
    ----------
    weights_ : ndarray, shape (n_components,)
    means_ : ndarray, shape (n_components, d)
        Mean directions, of norm 1.
    kappas_ : ndarray, shape (n_components,)
    converged_ : bool
    n_iter_ : int
        EM iterations of the best initialisation.
    lower_bound_ : float
        Mean log-likelihood of the training vectors.
    lower_bounds_ : list of float
        Its course over the iterations.
    n_features_in_ : int

    Notes
    -----
    A step of EM may be computed anywhere: send the estimator to where the data are, add up, and update::

        model = VonMisesFisherMixture(8).initialize(a_subset)
        for _ in range(50):
            model.m_step(sum(client.gather([client.submit(model.partial_stats, part) for part in parts])))

    The concentrations are maximum-likelihood estimates; where a component has few vectors for its dimension they are
    too large (see ``vonmises_fisher.fit``), which does not change the ranking of components much.

    References
    ----------
    .. [1] A. Banerjee, I. S. Dhillon, J. Ghosh, S. Sra, Clustering on the unit hypersphere using von Mises-Fisher
       distributions, J. Mach. Learn. Res. 6, 1345-1382, 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from telamon.stats import VonMisesFisherMixture, vonmises_fisher
    >>> a, b = np.eye(64)[:2]
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([vonmises_fisher(a, 80).rvs(300, rng), vonmises_fisher(b, 40).rvs(100, rng)])
    >>> model = VonMisesFisherMixture(2, random_state=0).fit(x)
    >>> sorted(model.weights_.round(2).tolist())
    [0.25, 0.75]
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str | ArrayLike = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        kappas_init: ArrayLike | None = None,
        max_kappa: float | None = None,
        normalize: bool | str = "warn",
        chunk_size: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.kappas_init = kappas_init
        self.max_kappa = max_kappa
        self.normalize = normalize
        self.chunk_size = chunk_size
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    weights_: Array
    means_: Array
    kappas_: Array
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    n_features_in_: int

    # ------------------------------------------------------------------------------------------------ the boundary

    def _check_parameters(self) -> None:
        for name, least in (("n_components", 1), ("max_iter", 1), ("n_init", 1)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(f"'{name}' must be an integer >= {least}, got {value!r}.")
        if self.chunk_size is not None and not (isinstance(self.chunk_size, numbers.Integral) and self.chunk_size > 0):
            raise ValueError(f"'chunk_size' must be None or an integer >= 1, got {self.chunk_size!r}.")
        if not (isinstance(self.tol, numbers.Real) and self.tol >= 0):
            raise ValueError(f"'tol' must be a number >= 0, got {self.tol!r}.")
        limit = 1.0 if self.max_kappa is None else self.max_kappa
        if not (isinstance(limit, numbers.Real) and 0 < limit < np.inf):
            raise ValueError(f"'max_kappa' must be None or a positive finite number, got {limit!r}.")
        if not (isinstance(self.normalize, (bool, np.bool_)) or self.normalize == "warn"):
            raise ValueError(f"'normalize' must be 'warn', True or False, got {self.normalize!r}.")
        names = ("kmeans", "k-means++", "random", "random_from_data")
        if isinstance(self.init_params, str) and self.init_params not in names:
            raise ValueError(f"'init_params' must be one of {names} or an array, got {self.init_params!r}.")

    def _validate(self, x: Any, reset: bool = False) -> tuple[Array, Array]:
        """The data as a real matrix, and one over the norms of its rows."""
        if validate_data is not None:
            x = validate_data(self, x, reset=reset, dtype=[np.float64, np.float32], ensure_min_features=1 + reset)
        else:
            x = _validation.real_array(x, "X")
            if x.ndim != 2:
                raise ValueError(f"'X' must be two dimensional, got shape {x.shape}. Reshape your data to (n, d).")
            if len(x) == 0 or x.shape[1] < 2:
                raise ValueError(f"'X' must have at least one row and two columns, got shape {x.shape}.")
            if reset:
                self.n_features_in_ = x.shape[1]
            elif x.shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has {x.shape[1]} features, but {type(self).__name__} is expecting "
                    f"{self.n_features_in_} features as input."
                )
            _validation.require_finite(x, "X")
        norms = np.concatenate([_validation.row_norms(x[block]) for block in self._blocks(x)])
        if (norms == 0).any():
            raise ValueError(f"'X' has a row of zeros (row {np.argmin(norms)}), which has no direction; remove it.")
        wrong = np.abs(norms - 1) > _validation.UNIT_TOLERANCE
        if wrong.any() and self.normalize is not True:
            text = f"{wrong.sum()} of {len(x)} rows of 'X' are not unit vectors (row {np.argmax(wrong)} has norm "
            text += f"{norms[np.argmax(wrong)]:.6g})"
            if self.normalize == "warn":
                warnings.warn(f"{text}; they are scaled to norm 1. Pass normalize=True to say so.", stacklevel=3)
            else:
                raise ValueError(f"{text}; scale them, or pass normalize=True.")
        return x, 1 / norms

    def _require_fitted(self) -> None:
        if not hasattr(self, "means_"):
            raise NotFittedError(f"This {type(self).__name__} instance is not fitted yet. Call 'fit' or 'initialize'.")

    def _blocks(self, x: Array) -> Iterator[slice]:
        return _validation.chunks(len(x), max(x.shape[1], self.n_components), self.chunk_size)

    # ------------------------------------------------------------------------------------------------ EM

    def _log_joint(self, block: Array, inverse: Array) -> Array:
        """log (pi_k f_k(x_i)) for a block of rows."""
        log_norm = _sphere.log_series(self.means_.shape[1], self.kappas_)[1] - _sphere.log_area(self.means_.shape[1])
        cosine = self._cosines(block, inverse, self.means_)
        with np.errstate(divide="ignore"):
            constant = np.log(self.weights_) + log_norm
        joint: Array = constant + self.kappas_ * (np.minimum(cosine, 1.0) - 1)
        return joint

    def _posterior(self, block: Array, inverse: Array) -> tuple[Array, Array]:
        """Responsibilities and log p(x) for a block of rows."""
        joint = self._log_joint(block, inverse)
        top = joint.max(axis=1)
        joint -= top[:, None]
        np.exp(joint, out=joint)
        total = joint.sum(axis=1)
        joint /= total[:, None]
        return joint, top + np.log(total)

    def _accumulate(
        self,
        x: Array,
        inverse: Array,
        weights: Array | None,
        responsibilities: Callable[[slice], tuple[Array, Array | None]],
    ) -> SufficientStatistics:
        """Sum over blocks; `responsibilities` takes a slice and gives an array and log p(x), or None for the latter."""
        d = x.shape[1]
        weight, resultant, likelihood = np.zeros(self.n_components), np.zeros((self.n_components, d)), 0.0
        for block in self._blocks(x):
            share, log_p = responsibilities(block)
            if weights is not None:
                share = share * weights[block, None]
            weight += share.sum(axis=0)
            resultant += (share * inverse[block, None]).T @ x[block].astype(np.float64, copy=False)
            if log_p is not None:
                likelihood += float(log_p.sum() if weights is None else log_p @ weights[block])
        return SufficientStatistics(weight, resultant, likelihood, len(x))

    def _e_step(self, x: Array, inverse: Array, weights: Array | None) -> SufficientStatistics:
        return self._accumulate(x, inverse, weights, lambda block: self._posterior(x[block], inverse[block]))

    def partial_stats(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> SufficientStatistics:
        """E step on part of the data: what `m_step` needs, to be added up over the parts.

        Parameters
        ----------
        X : array_like, shape (n, d)
        sample_weight : array_like, shape (n,), optional

        Returns
        -------
        SufficientStatistics
            Small and picklable.

        Raises
        ------
        ValueError
            As in `fit`; NotFittedError if neither `fit` nor `initialize` was called.
        """
        self._require_fitted()
        x, inverse = self._validate(X)
        return self._e_step(x, inverse, _validation.weight_vector(sample_weight, len(x), "sample_weight"))

    def m_step(self, stats: SufficientStatistics) -> VonMisesFisherMixture:
        """Update the parameters from the statistics of all the data.

        Parameters
        ----------
        stats : SufficientStatistics
            Of the current parameters.

        Returns
        -------
        self
            With `weights_`, `means_` and `kappas_` replaced, and `lower_bound_` that of the parameters before.
        """
        d = stats.resultant.shape[1]
        total = float(stats.weight.sum())
        length = np.linalg.norm(stats.resultant, axis=1)
        alive = (stats.weight > 1e-14 * total) & (length > 0)
        weight = np.where(alive, stats.weight, 1.0)
        r = np.minimum(np.where(alive, length / weight, 0.0), 1.0)
        limit = 5e9 * (d - 1) if self.max_kappa is None else float(self.max_kappa)
        kappas = np.minimum(_sphere.concentration(d, r, np.maximum(1 - r, 1e-15)), limit)
        means = stats.resultant / np.where(length > 0, length, 1.0)[:, None]
        if hasattr(self, "means_"):  # a component that lost all its vectors stays where it was
            means = np.where(alive[:, None], means, self.means_)
            kappas = np.where(alive, kappas, self.kappas_)
        self.weights_ = stats.weight / total
        self.means_, self.kappas_ = means, kappas
        self.lower_bound_ = stats.mean_log_likelihood
        return self

    # ------------------------------------------------------------------------------------------------ start

    @staticmethod
    def _cosines(block: Array, inverse: Array, directions: Array) -> Array:
        cosines: Array = block.astype(np.float64, copy=False) @ directions.T
        cosines *= inverse[:, None]
        return cosines

    def _seeds(self, x: Array, inverse: Array, weights: Array | None, rng: Random) -> Array:
        """Rows drawn by k-means++ with 1 - cosine for the squared distance; the best of some candidates each time.

        In high dimension all distances are nearly alike, so a draw says little and the candidates decide: eight more
        than the customary 2 + log k.
        """
        w = np.ones(len(x)) if weights is None else weights
        trials = 10 + int(np.log(self.n_components))
        chosen: list[Array] = []
        distance = np.ones(len(x))
        for k in range(self.n_components):
            mass = np.cumsum(w * distance)
            if not mass[-1] > 0:  # fewer distinct rows than components
                mass = np.cumsum(w)
            draws = rng.random(trials if k else 1) * mass[-1]
            candidates = np.minimum(np.searchsorted(mass, draws, side="right"), len(x) - 1)
            rows = x[candidates].astype(np.float64) * inverse[candidates, None]
            potential = np.zeros(len(rows))
            for block in self._blocks(x) if len(rows) > 1 else ():
                far = np.maximum(1 - self._cosines(x[block], inverse[block], rows), 0.0)
                potential += w[block] @ np.minimum(far, distance[block, None])
            best = rows[np.argmin(potential)]
            chosen.append(best)
            for block in self._blocks(x):
                far = np.maximum(1 - self._cosines(x[block], inverse[block], best[None])[:, 0], 0.0)
                distance[block] = np.minimum(far, distance[block]) if k else far
        return np.array(chosen)

    def _start(self, x: Array, inverse: Array, weights: Array | None, rng: Random) -> None:
        """Set the parameters at which EM starts."""
        n, k, kind = len(x), self.n_components, self.init_params
        for name in ("weights_", "means_", "kappas_"):
            if hasattr(self, name):
                delattr(self, name)
        if not isinstance(kind, str):
            given = _validation.real_array(kind, "init_params").astype(np.float64, copy=False)
            if given.shape != (n, k) or not (given >= 0).all() or not np.allclose(given.sum(axis=1), 1):
                raise ValueError(
                    f"'init_params' as an array holds responsibilities: shape ({n}, {k}), entries >= 0, rows that sum "
                    f"to 1. Got shape {given.shape}."
                )
            self.m_step(self._accumulate(x, inverse, weights, lambda block: (given[block], None)))
        elif kind == "random":

            def share(block: slice) -> tuple[Array, None]:
                drawn = rng.random((block.stop - block.start, k))
                return drawn / drawn.sum(axis=1, keepdims=True), None

            self.m_step(self._accumulate(x, inverse, weights, share))
        else:
            if kind == "random_from_data":
                w = np.ones(n) if weights is None else weights
                rows = np.argsort(rng.standard_exponential(n) / np.maximum(w, 1e-300))[:k]
                centres = x[rows].astype(np.float64) * inverse[rows, None]
            else:
                centres = self._seeds(x, inverse, weights, rng)
            self.m_step(self._spherical_kmeans(x, inverse, weights, centres, 20 if kind == "kmeans" else 0))
        self._given_start(x.shape[1])

    def _spherical_kmeans(
        self, x: Array, inverse: Array, weights: Array | None, centres: Array, iterations: int
    ) -> SufficientStatistics:
        """Statistics of the rows assigned to the nearest centre, after some iterations of Lloyd's algorithm."""

        def assign(block: slice) -> tuple[Array, None]:
            nearest = np.argmax(self._cosines(x[block], inverse[block], centres), axis=1)
            return (nearest[:, None] == np.arange(self.n_components)).astype(np.float64), None

        stats = self._accumulate(x, inverse, weights, assign)
        for _ in range(iterations):
            length = np.linalg.norm(stats.resultant, axis=1, keepdims=True)
            moved = np.where(length > 0, stats.resultant / np.where(length > 0, length, 1), centres)
            shift, centres = np.abs(moved - centres).max(), moved
            stats = self._accumulate(x, inverse, weights, assign)
            if shift < 1e-6:
                break
        self.means_, self.kappas_ = centres, np.zeros(self.n_components)  # what an empty component keeps
        return stats

    def _given_start(self, d: int) -> None:
        """Replace the start by weights_init, means_init and kappas_init where they are given."""
        k = self.n_components
        for name, shape in (("weights_init", (k,)), ("means_init", (k, d)), ("kappas_init", (k,))):
            if getattr(self, name) is None:
                continue
            value = _validation.real_array(getattr(self, name), name).astype(np.float64)
            if value.shape != shape:
                raise ValueError(f"'{name}' must have shape {shape}, got {value.shape}.")
            _validation.require_finite(value, name)
            if name == "means_init":
                _validation.unit_rows(value, name)
                value = _validation.normalized(value)
            elif (value < 0).any():
                raise ValueError(f"'{name}' must not be negative, got {value.min():.6g}.")
            elif name == "weights_init" and not np.isclose(value.sum(), 1):
                raise ValueError(f"'weights_init' must sum to 1, got {value.sum():.6g}.")
            setattr(self, name.replace("init", ""), value)

    def initialize(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> VonMisesFisherMixture:
        """Set the parameters as `fit` does before its first EM step, for an EM that runs elsewhere.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The data or a representative part of them.
        sample_weight : array_like, shape (n,), optional

        Returns
        -------
        self
        """
        x, inverse, weights = self._training_data(X, sample_weight)
        self._start(x, inverse, weights, _validation.random_generator(self.random_state))
        return self

    def _training_data(self, X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[Array, Array, Array | None]:
        self._check_parameters()
        x, inverse = self._validate(X, reset=True)
        if len(x) < self.n_components:
            raise ValueError(f"'X' must have at least n_components={self.n_components} rows, got n_samples={len(x)}.")
        return x, inverse, _validation.weight_vector(sample_weight, len(x), "sample_weight")

    # ------------------------------------------------------------------------------------------------ the estimator

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> VonMisesFisherMixture:
        """Estimate the parameters by EM.

        Parameters
        ----------
        X : array_like, shape (n, d), d >= 2, n >= n_components
            Unit vectors as rows; see `normalize` for others.
        y : ignored
        sample_weight : array_like, shape (n,), optional
            Non-negative weights; weight 2 is the row twice, weight 0 is the row left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` is not a real matrix of that shape, holds NaN, infinity or a zero row, or (with normalize=False) rows
            that are not unit vectors; if `sample_weight` has the wrong length, a negative entry or no positive one;
            if a parameter of the constructor is out of range. The message names the argument.
        """
        x, inverse, weights = self._training_data(X, sample_weight)
        rng = _validation.random_generator(self.random_state)
        warm = self.warm_start and getattr(self, "means_", np.empty(0)).shape == (self.n_components, x.shape[1])
        n_init = 1 if warm else self.n_init
        progress = Progress(bool(self.verbose), n_init, self.max_iter, self.tol)
        best: dict[str, Any] = {}
        for init in range(n_init):
            if not warm:
                self._start(x, inverse, weights, rng)
            run = self._run(x, inverse, weights, progress, init)
            if not best or run["lower_bound_"] > best["lower_bound_"]:
                best = run
        self.__dict__.update(best)
        if not self.converged_:
            warnings.warn(
                f"EM did not converge in max_iter={self.max_iter} iterations; raise max_iter or tol, or check X.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _run(self, x: Array, inverse: Array, weights: Array | None, progress: Progress, init: int) -> dict[str, Any]:
        """EM from the current parameters. The bound is evaluated after each M step, so it belongs to the result."""
        stats = self._e_step(x, inverse, weights)
        bounds, change, converged = [stats.mean_log_likelihood], np.inf, False
        for iteration in range(1, self.max_iter + 1):
            self.m_step(stats)
            stats = self._e_step(x, inverse, weights)
            bounds.append(stats.mean_log_likelihood)
            previous, change = change, bounds[-1] - bounds[-2]
            converged = abs(change) < self.tol
            progress.update(init, iteration, bounds[-1], change, previous, converged or iteration == self.max_iter)
            if converged:
                break
        return {
            "weights_": self.weights_,
            "means_": self.means_,
            "kappas_": self.kappas_,
            "converged_": converged,
            "n_iter_": iteration,
            "lower_bound_": bounds[-1],
            "lower_bounds_": bounds[1:],
        }

    def fit_predict(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Array:
        """`fit`, then the label of each row."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def _each_block(self, X: ArrayLike, columns: int, function: Callable[[Array, Array], Array]) -> Array:
        self._require_fitted()
        x, inverse = self._validate(X)
        out = np.empty((len(x), columns) if columns else len(x))
        for block in self._blocks(x):
            out[block] = function(x[block], inverse[block])
        return out

    def score_samples(self, X: ArrayLike) -> Array:
        """log p(x) of each row, shape (n,)."""
        return self._each_block(X, 0, lambda x, inverse: self._posterior(x, inverse)[1])

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def predict_proba(self, X: ArrayLike) -> Array:
        """Posterior probabilities of the components, shape (n, n_components)."""
        self._require_fitted()
        return self._each_block(X, len(self.weights_), lambda x, inverse: self._posterior(x, inverse)[0])

    def predict(self, X: ArrayLike) -> Array:
        """Index of the most probable component, shape (n,)."""
        labels = self._each_block(X, 0, lambda x, inverse: self._log_joint(x, inverse).argmax(axis=1))
        return labels.astype(np.intp)

    def sample(self, n_samples: int = 1) -> tuple[Array, Array]:
        """Random vectors from the mixture.

        Parameters
        ----------
        n_samples : int

        Returns
        -------
        X : ndarray, shape (n_samples, d)
            Sorted by component.
        y : ndarray of int, shape (n_samples,)
            Component of each row.
        """
        self._require_fitted()
        if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
            raise ValueError(f"'n_samples' must be an integer >= 1, got {n_samples!r}.")
        rng = _validation.random_generator(self.random_state)
        counts = rng.multinomial(n_samples, self.weights_ / self.weights_.sum())
        parts = [
            sample(mu, kappa, n, rng) for mu, kappa, n in zip(self.means_, self.kappas_.tolist(), counts, strict=True)
        ]
        return np.concatenate(parts), np.repeat(np.arange(len(counts)), counts)

    def _n_parameters(self) -> int:
        return self.means_.size + len(self.means_) - 1  # d - 1 for a direction, a kappa, and weights that sum to 1

    def bic(self, X: ArrayLike) -> float:
        """Bayesian information criterion on X; lower is better."""
        scores = self.score_samples(X)
        return float(-2 * scores.sum() + self._n_parameters() * np.log(len(scores)))

    def aic(self, X: ArrayLike) -> float:
        """Akaike information criterion on X; lower is better."""
        return float(-2 * self.score_samples(X).sum() + 2 * self._n_parameters())
