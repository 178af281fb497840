"""telamon for JAX: `telamon.special`, `telamon.so3`, `telamon.kron` and `telamon.quant` under jit, grad, vmap etc.

float64 needs ``jax_enable_x64``, as everywhere in JAX; float16 and bfloat16 are computed in float32 and rounded back.

On the CPU, XLA calls telamon's C++ directly (`USES_FFI`) where telamon was built beside JAX, with
``pip install --no-build-isolation``; elsewhere it calls back into Python, which costs some 0.1 ms a call and, on
accelerators, a copy there and back.

The functions of `telamon.special` take arrays of float32 or float64 that broadcast, or numbers. log_iv, log_kv, log_ive
and log_kve can be differentiated twice, in forward or reverse mode, the others once; one more derivative raises
NotImplementedError.

    >>> import jax, telamon.jax as tj
    >>> jax.grad(tj.log_iv, argnums=(0, 1))(1.5, 2.0)      # the derivatives in v and in x
    (Array(-0.9178..., dtype=float32, ...), Array(0.9240..., dtype=float32, ...))

The functions of `telamon.so3` take arrays (..., (lmax + 1)^2, channels) and are differentiable to every order, in
forward and reverse mode, since their derivatives are the same functions again. `gaunt_conv`, `rotate` and `wigner_D`
always call back into Python.

    >>> x = jax.random.normal(jax.random.key(0), (100, 9, 32))       # degrees 0 to 2, 32 channels
    >>> jax.grad(lambda x: tj.gaunt_product(x, x)[:, 0].sum())(x).shape
    (100, 9, 32)

The functions kron_* take the factors of a Kronecker product and arrays (..., n_1, ..., n_d) on its grid, and run where
XLA runs. Gradients, in both modes, reach factors, right-hand sides and noise without differentiating an eigenvector, so
that they are as good where eigenvalues coincide: `kron_matmul` and `kron_solve` to every order, `kron_logdet` and
`kron_log_likelihood` to the second.

    >>> x, y = jnp.linspace(0, 1, 100), jax.random.normal(jax.random.key(0), (100, 100))
    >>> kernel = lambda scale: jnp.exp(-(((x[:, None] - x) / scale) ** 2))
    >>> jax.grad(lambda scale: tj.kron_log_likelihood([kernel(scale)] * 2, y, noise=0.1))(0.2)

`quant_matmul` multiplies arrays (..., inputs) with the packed matrices of `telamon.quant`, by XLA alone.

    >>> w = telamon.quant.quantize_layer(numpy.random.default_rng(0).standard_normal((100, 64)), method="hqq", bits=3)
    >>> tj.quant_matmul(jnp.ones((7, 64)), w.packed, w.codebooks, bits=3).shape
    (7, 100)
"""

from . import _kron, _quant, _so3, _special
from ._ffi import USES_FFI
from ._kron import *  # noqa: F403
from ._quant import *  # noqa: F403
from ._so3 import *  # noqa: F403
from ._special import *  # noqa: F403

__all__ = [*_special.__all__, *_so3.__all__, *_kron.__all__, *_quant.__all__, "USES_FFI"]
