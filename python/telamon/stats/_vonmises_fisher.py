"""The von Mises-Fisher distribution, with the call forms of scipy.stats.vonmises_fisher."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _sphere, _validation
from ._validation import Array, Random


class VonMisesFisherFit(tuple[Array, float]):
    """What `vonmises_fisher.fit` returns: the pair ``(mu, kappa)`` that SciPy returns, with more attributes.

    Attributes
    ----------
    mu : ndarray of float64, shape (d,)
        Mean direction, of norm 1.
    kappa : float
        Concentration.
    kappa_se : float
        Standard error of kappa, ``(n A'(kappa))^(-1/2)`` from the Fisher information; with ``bias_correction`` it
        includes the noise of the mean vector across mu, ``Var[A^2] / (2 A A')^2`` as a whole.
    mu_se : float
        Standard error of the mean direction along each of the d - 1 tangent directions, in radians,
        ``(n kappa A(kappa))^(-1/2)``; inf at kappa = 0.
    resultant_length, resultant_length_c : float
        Mean resultant length R and 1 - R, each to full relative accuracy. With ``bias_correction`` the corrected one.
    n_effective : float
        Number of vectors, or with weights Kish's ``(sum w)^2 / sum w^2``; n above.
    """

    kappa_se: float
    mu_se: float
    resultant_length: float
    resultant_length_c: float
    n_effective: float

    @property
    def mu(self) -> Array:
        return self[0]

    @property
    def kappa(self) -> float:
        return self[1]

    def __repr__(self) -> str:
        d, n = len(self.mu), self.n_effective
        return f"VonMisesFisherFit(d={d}, kappa={self.kappa:.8g} +- {self.kappa_se:.2g}, n_effective={n:.6g})"


def _concentration_parameter(kappa: Any, name: str = "kappa") -> float:
    text = f"'{name}' must be a positive scalar."
    if isinstance(kappa, np.ndarray) and kappa.ndim == 0:
        kappa = kappa[()]
    if not isinstance(kappa, (numbers.Real, np.bool_)) or not 0 <= float(kappa) < math.inf:
        raise ValueError(f"{text} Got {kappa!r}; it must be finite, and may be 0, which is the uniform distribution.")
    return float(kappa)


def _mean_direction(mu: ArrayLike | None, name: str = "mu") -> Array:
    if mu is None:
        raise ValueError(f"'{name}' must be given: the mean direction, a vector of norm 1.")
    mu = _validation.real_array(mu, name)
    if mu.ndim > 1:
        raise ValueError(f"'{name}' must have one-dimensional shape. Got shape {mu.shape}.")
    if not np.isfinite(mu).all():
        raise ValueError(f"'{name}' contains NaN or infinity.")
    norm = float(np.linalg.norm(mu.astype(np.float64)))
    if not abs(norm - 1) <= _validation.UNIT_TOLERANCE:
        raise ValueError(f"'{name}' must be a unit vector of norm 1. Its norm is {norm:.6g}.")
    if mu.size < 2:
        raise ValueError(f"'{name}' must have at least two entries. Got {mu.size}; the sphere in R^1 is two points.")
    return mu


def sample_cosine_c(d: int, kappa: float, size: int, rng: Random) -> Array:
    """Draw 1 - mu.x, exactly and to full relative accuracy.

    d = 3: inversion. Else Wood's (1994) rejection from ``1 - w = 2 b g / (h + b g)`` with gamma variates g and h of
    shape (d - 1) / 2. With t = 1 - w and t0 at the envelope's point of contact, his criterion is
    ``(d - 1) (log(1 + y) - y) >= log(uniform)``, y = kappa (t - t0) / (d - 1), in which nothing large cancels.
    """
    if d == 3:
        u = rng.random(size)
        return -np.log1p(u * math.expm1(-2 * kappa)) / kappa if kappa > 1e-300 else 2 * u
    m = d - 1
    b = m / (2 * kappa + math.hypot(2 * kappa, m))
    contact = 2 * b / (1 + b)
    out = np.empty(size)
    done = 0
    while done < size:
        count = size - done
        g, h = b * rng.standard_gamma(0.5 * m, count), rng.standard_gamma(0.5 * m, count)
        t = 2 * g / (g + h)
        y = (t - contact) * (kappa / m)
        accepted = t[m * (y - np.log1p(y)) <= rng.standard_exponential(count)]
        out[done : done + len(accepted)] = accepted
        done += len(accepted)
    return out


def sample(mu: Array, kappa: float, n: int, rng: Random, dtype: DTypeLike = np.float64) -> Array:
    """n vectors, shape (n, d): t = 1 - mu.x, a uniform direction orthogonal to e_1, and a reflection of e_1 to mu."""
    d = mu.size
    mu = mu.astype(np.float64) / np.linalg.norm(mu.astype(np.float64))
    t = sample_cosine_c(d, kappa, n, rng)
    out = np.empty((n, d), dtype)
    sign = math.copysign(1.0, mu[0])
    axis = sign * mu
    axis[0] += 1.0
    for block in _validation.chunks(n, d):
        x = np.empty((block.stop - block.start, d))
        tangent = rng.standard_normal((len(x), d - 1))
        length = np.sqrt(t[block] * (2 - t[block]))
        if d == 2:
            x[:, 1] = np.copysign(length, tangent[:, 0])
        else:
            x[:, 1:] = tangent * (length / _validation.row_norms(tangent))[:, None]
        x[:, 0] = 1 - t[block]
        # the reflection along e_1 + sign mu, whose squared norm is 2 axis[0], takes e_1 to -sign mu
        x -= np.outer(x @ (axis / axis[0]), axis)
        np.multiply(x, -sign, out=out[block], casting="same_kind")
    return out


class VonMisesFisher:
    r"""The von Mises-Fisher distribution on the unit sphere of :math:`\mathbb{R}^d`, d = 2 .. 10^6.

    .. math:: f(x) = C_d(\kappa) \exp(\kappa \mu^T x), \qquad
              C_d(\kappa) = \frac{\kappa^{d/2-1}}{(2\pi)^{d/2} I_{d/2-1}(\kappa)}

    A drop-in for ``scipy.stats.vonmises_fisher``: the same methods with the same arguments, and calling the object with
    ``(mu, kappa, seed=None)`` freezes it. It differs where SciPy fails or refuses: every dimension and every finite
    kappa >= 0 is right (SciPy's log density overflows and its fit returns 1e-8 in high dimension), kappa = 0 is the
    uniform distribution, an integer seed makes a `numpy.random.Generator`, and there is more: `kl_divergence`, weights,
    standard errors and a bias correction in `fit`.

    Methods
    -------
    pdf(x, mu, kappa=1), logpdf(x, mu, kappa=1)
        Density at unit vectors.
    rvs(mu, kappa=1, size=1, random_state=None)
        Random vectors.
    entropy(mu, kappa=1)
        Differential entropy.
    kl_divergence(mu1, kappa1, mu2, kappa2)
        Kullback-Leibler divergence.
    fit(x, weights=None, bias_correction=False)
        Maximum likelihood, with standard errors.

    Notes
    -----
    Errors, with eps = 2^-52, against balls of 90 bits for d = 2 .. 10^6 and kappa = 0 .. 1e12: log C within 4 eps of
    ``max(1, |log C|, kappa A)``, and ``log C + kappa``, from which densities near the mode are computed, within 4 eps
    of ``max(1, |log C + kappa|, kappa (1 - A))``. kappa A is the change of log C for a relative change of kappa, so the
    last entries are the conditioning, and count only near a zero of the logarithm. A divergence is right to 1e-14,
    relative, also between close distributions.

    float32 vectors are read in blocks and never copied as a whole to float64; every sum is taken in float64. Vectors
    must have norm 1 within 1e-5, as in SciPy; the rounding left in the norm is divided out.

    References
    ----------
    .. [1] K. V. Mardia and P. E. Jupp, Directional Statistics, Wiley, 2000.
    .. [2] A. Banerjee, I. S. Dhillon, J. Ghosh, S. Sra, Clustering on the unit hypersphere using von Mises-Fisher
       distributions, J. Mach. Learn. Res. 6, 1345-1382, 2005.
    .. [3] A. T. A. Wood, Simulation of the von Mises Fisher distribution, Comm. Statist. Simulation Comput. 23,
       157-164, 1994.
    .. [4] S. Sra, A short note on parameter approximation for von Mises-Fisher distributions, Comput. Statist. 27,
       177-190, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from telamon.stats import vonmises_fisher
    >>> mu = np.eye(2048)[0]
    >>> x = vonmises_fisher(mu, 4561.0).rvs(500, random_state=1)
    >>> result = vonmises_fisher.fit(x, bias_correction=True)
    >>> bool(abs(result.kappa - 4561) < 4 * result.kappa_se)
    True
    """

    def __init__(self, seed: Any = None) -> None:
        self.random_state = seed

    def __call__(self, mu: ArrayLike | None = None, kappa: float = 1, seed: Any = None) -> VonMisesFisherFrozen:
        """Freeze the parameters; see `VonMisesFisherFrozen`."""
        return VonMisesFisherFrozen(mu, kappa, seed=seed)

    @property
    def random_state(self) -> Random:
        """The generator used where a method is given none."""
        return self._random_state

    @random_state.setter
    def random_state(self, seed: Any) -> None:
        self._random_state = _validation.random_generator(seed, "seed")

    def logpdf(self, x: ArrayLike, mu: ArrayLike | None = None, kappa: float = 1) -> Any:
        """Logarithm of the density.

        Computed as ``(log C + kappa) - kappa |x - mu|^2 / 2``, which does not cancel near the mode.

        Parameters
        ----------
        x : array_like of real numbers, shape (..., d)
            Unit vectors along the last axis.
        mu : array_like, shape (d,)
            Mean direction, of norm 1.
        kappa : float
            Concentration, finite, >= 0.

        Returns
        -------
        ndarray of float64, shape (...), or a scalar

        Raises
        ------
        ValueError
            If `x` or `mu` is not made of unit vectors, holds NaN, is not real, or their lengths differ, if d < 2, or if
            `kappa` is negative or not a finite number.
        """
        return self(mu, kappa).logpdf(x)

    def pdf(self, x: ArrayLike, mu: ArrayLike | None = None, kappa: float = 1) -> Any:
        """Density: the exponential of `logpdf`, with its parameters and errors. inf where it exceeds 1.8e308."""
        return self(mu, kappa).pdf(x)

    def rvs(
        self,
        mu: ArrayLike | None = None,
        kappa: float = 1,
        size: int | tuple[int, ...] | None = 1,
        random_state: Any = None,
        *,
        dtype: DTypeLike = np.float64,
    ) -> Array:
        """Random vectors, by exact methods whose cost per vector is O(d) and does not grow with kappa.

        Parameters
        ----------
        mu, kappa
            As in `logpdf`.
        size : int, tuple of int or None
            Shape of the sample; None gives one vector of shape (d,).
        random_state : None, int, numpy.random.Generator or numpy.random.RandomState
            None is the object's own `random_state`, by default NumPy's global one; an integer seeds a Generator.
        dtype : float64 or float32
            Of the result; float32 halves the memory.

        Returns
        -------
        ndarray, shape size + (d,)

        Raises
        ------
        ValueError
            As in `logpdf`, and for a `size`, `random_state` or `dtype` of the wrong kind.
        """
        frozen = self(mu, kappa)
        return frozen.rvs(size, self.random_state if random_state is None else random_state, dtype=dtype)

    def entropy(self, mu: ArrayLike | None = None, kappa: float = 1) -> np.float64:
        """Differential entropy, ``-log C - kappa A(kappa)``; at kappa = 0 the log of the sphere's area.

        Returns
        -------
        float64
        """
        return self(mu, kappa).entropy()

    def kl_divergence(self, mu1: ArrayLike, kappa1: float, mu2: ArrayLike, kappa2: float) -> np.float64:
        r"""Kullback-Leibler divergence of the second distribution from the first.

        .. math:: \int f_1 \log\frac{f_1}{f_2} = \int_{\kappa_1}^{\kappa_2} (\kappa_2 - t) A'(t)\,dt
                  + \kappa_2 A(\kappa_1) \frac{|\mu_1 - \mu_2|^2}{2}

        Both terms are positive, so the result has full relative accuracy also between close distributions.

        Parameters
        ----------
        mu1, mu2 : array_like, shape (d,)
        kappa1, kappa2 : float

        Returns
        -------
        float64

        Raises
        ------
        ValueError
            As in `logpdf`.
        """
        first = _mean_direction(mu1, "mu1").astype(np.float64)
        second = _mean_direction(mu2, "mu2").astype(np.float64)
        kappa1 = _concentration_parameter(kappa1, "kappa1")
        kappa2 = _concentration_parameter(kappa2, "kappa2")
        if first.size != second.size:
            raise ValueError(f"'mu1' and 'mu2' must have the same length, got {first.size} and {second.size}.")
        chord = first / np.linalg.norm(first) - second / np.linalg.norm(second)
        angular = kappa2 * float(_sphere.mean_resultant(first.size, kappa1)) * 0.5 * float(chord @ chord)
        divergence: np.float64 = np.float64(_sphere.bregman(first.size, kappa1, kappa2) + angular)
        return divergence

    def fit(
        self, x: ArrayLike, weights: ArrayLike | None = None, *, bias_correction: bool = False
    ) -> VonMisesFisherFit:
        r"""Maximum-likelihood estimate, with standard errors.

        With the weighted mean m of the vectors and R = |m|: mu = m / R, and kappa solves
        :math:`A(\kappa) = I_{d/2}(\kappa) / I_{d/2-1}(\kappa) = R`. Near R = 1 the equation is solved in 1 - R,
        summed as the mean of ``|x - mu|^2 / 2``.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, d)
            Unit vectors, n >= 2.
        weights : array_like, shape (n,), optional
            Non-negative; only their ratios matter. For counts of repetitions, the estimate is that of the repeated
            rows, and the standard error is based on Kish's effective number ``(sum w)^2 / sum w^2``.
        bias_correction : bool
            The maximum-likelihood kappa is too large, by many standard errors where n is not far greater than
            d / kappa squared, since E[R^2] = A^2 + (1 - A^2) / n. If true, kappa is found from the unbiased estimate
            ``(n R^2 - 1) / (n - 1)`` of A^2, the mean cosine of all pairs, floored at 0.

        Returns
        -------
        VonMisesFisherFit
            Unpacks to ``mu, kappa`` as SciPy's result does, and has ``kappa_se`` and more.

        Raises
        ------
        ValueError
            If `x` is not two-dimensional, is empty, has d < 2, holds NaN or rows that are not unit vectors, if all
            its rows of non-zero weight coincide (then the likelihood grows with kappa without bound), or if
            `weights` has the wrong length, a negative entry or no positive one.
        """
        x = _validation.real_array(x, "x")
        if x.ndim != 2:
            raise ValueError(f"'x' must be two dimensional. Got shape {x.shape}; expected (n, d).")
        n, d = x.shape
        if n == 0:
            raise ValueError(f"'x' must hold at least one vector, got shape {x.shape}.")
        if d < 2:
            raise ValueError(f"'x' must have at least two columns, got shape {x.shape}.")
        _validation.unit_rows(x, "x")
        w = _validation.weight_vector(weights, n, "weights")
        w = np.full(n, 1.0 / n) if w is None else w / w.max() / np.sum(w / w.max())

        mean = np.zeros(d)
        for block in _validation.chunks(n, d):
            mean += w[block] @ _validation.normalized(x[block])
        r = min(float(np.linalg.norm(mean)), 1.0)
        mu = mean / r if r > 0 else np.eye(1, d)[0]
        rc = 1 - r
        if rc < 0.1:
            rc = 0.0
            for block in _validation.chunks(n, d):
                offset = _validation.normalized(x[block])
                offset -= mu
                rc += float(w[block] @ np.einsum("ij,ij->i", offset, offset)) / 2
            if rc <= 8 * np.finfo(np.float64).eps ** 2:
                raise ValueError("'x' must hold at least two distinct vectors: kappa has no finite estimate otherwise.")
        n_effective = 1 / float(w @ w)
        if bias_correction:
            square_c = rc * (2 - rc) / (1 - 1 / n_effective)
            r = math.sqrt(max(0.0, 1 - square_c))
            rc = min(square_c, 1.0) / (1 + r)
        kappa = float(_sphere.concentration(d, r, rc))

        result = VonMisesFisherFit((mu, kappa))
        result.n_effective = n_effective
        result.resultant_length, result.resultant_length_c = r, rc
        slope = float(_sphere.information(d, kappa))
        variance = slope / n_effective
        if bias_correction:  # the noise across mu enters too; its square has mean (1 - A^2) / n and relative variance
            spread = math.sqrt(2 / (d - 1)) / n_effective  # 2 / (d - 1), which matters where n A^2 is small
            variance += (spread * rc * (2 - rc)) ** 2 / (4 * max(r * r, spread))
        result.kappa_se = math.sqrt(variance) / slope if slope > 0 else math.inf
        result.mu_se = 1 / math.sqrt(n_effective * kappa * r) if kappa * r > 0 else math.inf
        return result


class VonMisesFisherFrozen:
    """A von Mises-Fisher distribution with its parameters fixed: what ``vonmises_fisher(mu, kappa)`` returns.

    Parameters
    ----------
    mu : array_like, shape (d,)
        Mean direction, of norm 1.
    kappa : float
        Concentration, finite, >= 0.
    seed : None, int, numpy.random.Generator or numpy.random.RandomState
        Generator for `rvs`.

    Attributes
    ----------
    dim, mu, kappa
        The dimension and the parameters.
    random_state
        The generator; may be set.
    """

    def __init__(self, mu: ArrayLike | None = None, kappa: float = 1, seed: Any = None) -> None:
        self.mu = _mean_direction(mu)
        self.kappa = _concentration_parameter(kappa)
        self.dim = self.mu.size
        self.random_state = seed

    def __repr__(self) -> str:
        return f"vonmises_fisher(d={self.dim}, kappa={self.kappa:.8g})"

    @property
    def random_state(self) -> Random:
        """The generator used where `rvs` is given none."""
        return self._random_state

    @random_state.setter
    def random_state(self, seed: Any) -> None:
        self._random_state = _validation.random_generator(seed, "seed")

    def logpdf(self, x: ArrayLike) -> Any:
        """Logarithm of the density at unit vectors x of shape (..., d); see `VonMisesFisher.logpdf`."""
        x = _validation.real_array(x, "x")
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(
                "The dimensionality of the last axis of 'x' must match the dimensionality of the von Mises Fisher "
                f"distribution. Got shape {x.shape}; expected (..., {self.dim})."
            )
        rows = x.reshape(-1, self.dim)
        _validation.unit_rows(rows, "x")
        mu = self.mu.astype(np.float64)
        mu /= np.linalg.norm(mu)
        half_chord = np.empty(len(rows))
        for block in _validation.chunks(*rows.shape):
            offset = _validation.normalized(rows[block])
            offset -= mu
            half_chord[block] = np.einsum("ij,ij->i", offset, offset)
        _, gap = _sphere.log_series(self.dim, self.kappa)
        out = (gap - _sphere.log_area(self.dim)) - self.kappa * (0.5 * half_chord)
        return out.reshape(x.shape[:-1])[()]

    def pdf(self, x: ArrayLike) -> Any:
        """Density at unit vectors x of shape (..., d); see `VonMisesFisher.logpdf`."""
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(self.logpdf(x))

    def rvs(
        self, size: int | tuple[int, ...] | None = 1, random_state: Any = None, *, dtype: DTypeLike = np.float64
    ) -> Array:
        """Random vectors, shape size + (d,); see `VonMisesFisher.rvs`."""
        dtype = np.dtype(dtype)
        if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"'dtype' must be float32 or float64, got {dtype}.")
        try:
            shape = () if size is None else tuple(int(s) for s in (size if np.iterable(size) else (size,)))
            if any(s < 0 for s in shape):
                raise ValueError
        except (TypeError, ValueError):
            raise ValueError(f"'size' must be None, an integer >= 0 or a tuple of them, got {size!r}.") from None
        rng = self.random_state if random_state is None else _validation.random_generator(random_state)
        return sample(self.mu, self.kappa, math.prod(shape), rng, dtype).reshape((*shape, self.dim))

    def entropy(self) -> np.float64:
        """Differential entropy; see `VonMisesFisher.entropy`."""
        d, kappa = self.dim, self.kappa
        log_s, gap = _sphere.log_series(d, kappa)
        if kappa < d:
            change = float(log_s - kappa * _sphere.mean_resultant(d, kappa))
        else:
            change = float(kappa * _sphere.mean_resultant_c(d, kappa) - gap)
        entropy: np.float64 = np.float64(_sphere.log_area(d) + change)
        return entropy

    def kl_divergence(self, other: VonMisesFisherFrozen) -> np.float64:
        """Kullback-Leibler divergence of `other`, also frozen, from this distribution."""
        return vonmises_fisher.kl_divergence(self.mu, self.kappa, other.mu, other.kappa)


vonmises_fisher = VonMisesFisher()
