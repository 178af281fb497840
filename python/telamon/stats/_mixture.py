"""Mixtures of von Mises-Fisher distributions by expectation maximisation."""

from __future__ import annotations

import inspect
import numbers
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np

from . import _sphere, _validation
from ._vonmises_fisher import sample

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.exceptions import ConvergenceWarning, NotFittedError
    from sklearn.utils.validation import validate_data
except ImportError:  # the same conventions without scikit-learn
    validate_data = None

    class NotFittedError(ValueError, AttributeError):
        """The estimator has no parameters yet."""

    class ConvergenceWarning(UserWarning):
        """EM stopped at max_iter."""

    class DensityMixin:
        """Nothing to add."""

    class BaseEstimator:
        """get_params and set_params, as scikit-learn has them."""

        def get_params(self, deep=True):
            """The constructor's arguments."""
            return {name: getattr(self, name) for name in list(inspect.signature(type(self).__init__).parameters)[1:]}

        def set_params(self, **params):
            """Set constructor arguments; returns self."""
            known = self.get_params()
            for name, value in params.items():
                if name not in known:
                    raise ValueError(f"Invalid parameter {name!r}; valid parameters are {sorted(known)}.")
                setattr(self, name, value)
            return self


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

    weight: np.ndarray
    resultant: np.ndarray
    log_likelihood: float
    n_samples: int

    def __add__(self, other):
        if not isinstance(other, SufficientStatistics):
            return self if isinstance(other, numbers.Number) and other == 0 else NotImplemented
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
    def mean_log_likelihood(self):
        """Weighted mean of log p(x), what `VonMisesFisherMixture.lower_bound_` is."""
        return self.log_likelihood / float(self.weight.sum())


class _Progress:
    """One line on stderr, redrawn: a bar, the log-likelihood, its change, and the time left."""

    def __init__(self, enabled, n_init, max_iter, tol):
        self.enabled, self.n_init, self.max_iter, self.tol = enabled, n_init, max_iter, tol
        self.start, self.iterations, self.last = time.monotonic(), 0, -np.inf
        self.tty = enabled and sys.stderr.isatty()

    def update(self, init, iteration, bound, change, previous_change, done=False):
        """Show the state after an iteration; at most ten times a second on a terminal, else every two seconds."""
        if not self.enabled:
            return
        self.iterations += 1
        now = time.monotonic()
        if not done and now - self.last < (0.1 if self.tty else 2.0):
            return
        self.last = now
        left = self.max_iter - iteration
        if self.tol > 0 and 0 < abs(change) < abs(previous_change) < np.inf:  # the change shrinks geometrically
            rate = np.log(abs(previous_change / change))
            left = min(left, max(0.0, np.log(abs(change) / self.tol) / rate))
        left = 0 if done else left
        per_init = iteration + left
        seconds = (now - self.start) / self.iterations * (left + per_init * (self.n_init - init - 1))
        filled = round(20 * iteration / max(per_init, 1))
        line = (
            f"init {init + 1}/{self.n_init} [{'#' * filled}{'.' * (20 - filled)}] iteration {iteration} "
            f"log-likelihood {bound:.6g} change {change:.1e} about {seconds:.0f} s left"
        )
        sys.stderr.write(f"\r{line:<110}" if self.tty else line + "\n")
        if done and self.tty:
            sys.stderr.write("\n")
        sys.stderr.flush()


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
        n_components=1,
        *,
        tol=1e-3,
        max_iter=100,
        n_init=1,
        init_params="kmeans",
        weights_init=None,
        means_init=None,
        kappas_init=None,
        max_kappa=None,
        normalize="warn",
        chunk_size=None,
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
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

    # ------------------------------------------------------------------------------------------------ the boundary

    def _check_parameters(self):
        for name, least in (("n_components", 1), ("max_iter", 1), ("n_init", 1)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(f"'{name}' must be an integer >= {least}, got {value!r}.")
        if self.chunk_size is not None and not (isinstance(self.chunk_size, numbers.Integral) and self.chunk_size > 0):
            raise ValueError(f"'chunk_size' must be None or an integer >= 1, got {self.chunk_size!r}.")
        if not (isinstance(self.tol, numbers.Real) and self.tol >= 0):
            raise ValueError(f"'tol' must be a number >= 0, got {self.tol!r}.")
        if self.max_kappa is not None and not (isinstance(self.max_kappa, numbers.Real) and 0 < self.max_kappa < np.inf):
            raise ValueError(f"'max_kappa' must be None or a positive finite number, got {self.max_kappa!r}.")
        if not (isinstance(self.normalize, (bool, np.bool_)) or self.normalize == "warn"):
            raise ValueError(f"'normalize' must be 'warn', True or False, got {self.normalize!r}.")
        names = ("kmeans", "k-means++", "random", "random_from_data")
        if isinstance(self.init_params, str) and self.init_params not in names:
            raise ValueError(f"'init_params' must be one of {names} or an array, got {self.init_params!r}.")

    def _validate(self, x, reset=False):
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

    def _require_fitted(self):
        if not hasattr(self, "means_"):
            raise NotFittedError(f"This {type(self).__name__} instance is not fitted yet. Call 'fit' or 'initialize'.")

    def _blocks(self, x):
        return _validation.chunks(len(x), max(x.shape[1], self.n_components), self.chunk_size)

    # ------------------------------------------------------------------------------------------------ EM

    def _log_joint(self, block, inverse):
        """log (pi_k f_k(x_i)) for a block of rows."""
        log_norm = _sphere.log_series(self.means_.shape[1], self.kappas_)[1] - _sphere.log_area(self.means_.shape[1])
        cosine = self._cosines(block, inverse, self.means_)
        with np.errstate(divide="ignore"):
            return np.log(self.weights_) + log_norm + self.kappas_ * (np.minimum(cosine, 1.0) - 1)

    def _posterior(self, block, inverse):
        """Responsibilities and log p(x) for a block of rows."""
        joint = self._log_joint(block, inverse)
        top = joint.max(axis=1)
        joint -= top[:, None]
        np.exp(joint, out=joint)
        total = joint.sum(axis=1)
        joint /= total[:, None]
        return joint, top + np.log(total)

    def _accumulate(self, x, inverse, weights, responsibilities):
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

    def _e_step(self, x, inverse, weights):
        return self._accumulate(x, inverse, weights, lambda block: self._posterior(x[block], inverse[block]))

    def partial_stats(self, X, sample_weight=None):
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

    def m_step(self, stats):
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
    def _cosines(block, inverse, directions):
        return (block.astype(np.float64, copy=False) @ directions.T) * inverse[:, None]

    def _seeds(self, x, inverse, weights, rng):
        """Rows drawn by k-means++ with 1 - cosine for the squared distance; the best of a few candidates each time."""
        w = np.ones(len(x)) if weights is None else weights
        trials = 2 + int(np.log(self.n_components))
        chosen, distance = [], np.ones(len(x))
        for k in range(self.n_components):
            mass = np.cumsum(w * distance)
            if not mass[-1] > 0:  # fewer distinct rows than components
                mass = np.cumsum(w)
            draws = rng.random(trials if k else 1) * mass[-1]
            candidates = np.minimum(np.searchsorted(mass, draws, side="right"), len(x) - 1)
            rows = x[candidates].astype(np.float64) * inverse[candidates, None]
            new = np.empty((len(x), len(rows)))
            for block in self._blocks(x):
                far = np.maximum(1 - self._cosines(x[block], inverse[block], rows), 0.0)
                new[block] = np.minimum(far, distance[block, None]) if k else far
            best = int(np.argmin(w @ new))
            chosen.append(rows[best])
            distance = new[:, best]
        return np.array(chosen)

    def _start(self, x, inverse, weights, rng):
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

            def share(block):
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

    def _spherical_kmeans(self, x, inverse, weights, centres, iterations):
        """Statistics of the rows assigned to the nearest centre, after some iterations of Lloyd's algorithm."""

        def assign(block):
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

    def _given_start(self, d):
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
            elif name == "weights_init":
                if not np.isclose(value.sum(), 1):
                    raise ValueError(f"'weights_init' must sum to 1, got {value.sum():.6g}.")
            setattr(self, name.replace("init", ""), value)

    def initialize(self, X, sample_weight=None):
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

    def _training_data(self, X, sample_weight):
        self._check_parameters()
        x, inverse = self._validate(X, reset=True)
        if len(x) < self.n_components:
            raise ValueError(f"'X' must have at least n_components={self.n_components} rows, got n_samples={len(x)}.")
        return x, inverse, _validation.weight_vector(sample_weight, len(x), "sample_weight")

    # ------------------------------------------------------------------------------------------------ the estimator

    def fit(self, X, y=None, sample_weight=None):
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
        progress = _Progress(bool(self.verbose), n_init, self.max_iter, self.tol)
        best = None
        for init in range(n_init):
            if not warm:
                self._start(x, inverse, weights, rng)
            run = self._run(x, inverse, weights, progress, init)
            if best is None or run["lower_bound_"] > best["lower_bound_"]:
                best = run
        self.__dict__.update(best)
        if not self.converged_:
            warnings.warn(
                f"EM did not converge in max_iter={self.max_iter} iterations; raise max_iter or tol, or check the data.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _run(self, x, inverse, weights, progress, init):
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

    def fit_predict(self, X, y=None, sample_weight=None):
        """`fit`, then the label of each row."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def _each_block(self, X, columns, function):
        self._require_fitted()
        x, inverse = self._validate(X)
        out = np.empty((len(x), columns) if columns else len(x))
        for block in self._blocks(x):
            out[block] = function(x[block], inverse[block])
        return out

    def score_samples(self, X):
        """log p(x) of each row, shape (n,)."""
        return self._each_block(X, 0, lambda x, inverse: self._posterior(x, inverse)[1])

    def score(self, X, y=None):
        """Mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def predict_proba(self, X):
        """Posterior probabilities of the components, shape (n, n_components)."""
        self._require_fitted()
        return self._each_block(X, len(self.weights_), lambda x, inverse: self._posterior(x, inverse)[0])

    def predict(self, X):
        """Index of the most probable component, shape (n,)."""
        labels = self._each_block(X, 0, lambda x, inverse: self._log_joint(x, inverse).argmax(axis=1))
        return labels.astype(np.intp)

    def sample(self, n_samples=1):
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
        parts = [sample(mu, kappa, n, rng) for mu, kappa, n in zip(self.means_, self.kappas_.tolist(), counts)]
        return np.concatenate(parts), np.repeat(np.arange(len(counts)), counts)

    def _n_parameters(self):
        k, d = self.means_.shape
        return k * d + k - 1

    def bic(self, X):
        """Bayesian information criterion on X; lower is better."""
        scores = self.score_samples(X)
        return float(-2 * scores.sum() + self._n_parameters() * np.log(len(scores)))

    def aic(self, X):
        """Akaike information criterion on X; lower is better."""
        return float(-2 * self.score_samples(X).sum() + 2 * self._n_parameters())
