"""telamon for PyTorch: `telamon.special`, `telamon.so3`, `telamon.kron` and `telamon.quant` on tensors, with gradients.

CPU tensors are read in place, as NumPy views, without a copy where their strides allow; CUDA tensors stay on their
device, on PyTorch's current stream (see `telamon.cuda`). float16 and bfloat16 are computed in float32 and rounded
back. Everything works under autograd, `torch.func` transforms, `torch.vmap` and `torch.compile(fullgraph=True)`.

The functions of `telamon.special` take tensors of float32 or float64 that broadcast, or a Python number for one of the
two, and are differentiable in the order and in the argument: log_iv, log_kv, log_ive and log_kve twice, the others
once; one more derivative raises NotImplementedError. Types promote as in PyTorch: a 0-dimensional tensor or a number
does not widen the other argument.

    >>> import torch, telamon.torch as tt
    >>> x = torch.tensor([0.5, 2.0, 300.0], dtype=torch.float64, requires_grad=True)
    >>> tt.log_iv(1.5, x).sum().backward()
    >>> x.grad        # d/dx log I_v(x)
    tensor([3.0968, 0.9240, 0.9984], dtype=torch.float64)

The functions of `telamon.so3` take tensors (..., (lmax + 1)^2, channels) and are differentiable to every order, since
their derivatives are the same functions again: energies can be differentiated to forces, and a loss on forces trained.
`GauntProduct`, `GauntConv` and `SphericalHarmonics` are modules of them. There is no forward mode of differentiation.

    >>> x = torch.randn(100, 9, 32, requires_grad=True)              # degrees 0 to 2, 32 channels
    >>> z = tt.gaunt_product(x, x, lmax_out=3)
    >>> z.shape
    torch.Size([100, 16, 32])
    >>> (force,) = torch.autograd.grad(z[:, 0].sum(), x, create_graph=True)

The functions kron_* take the factors of a Kronecker product and tensors (..., n_1, ..., n_d) on its grid. Gradients
reach factors, right-hand sides and noise without differentiating an eigenvector, so that they are as good where
eigenvalues coincide: `kron_matmul` and `kron_solve` to every order, `kron_logdet` and `kron_log_likelihood` to the
second.

    >>> x = torch.linspace(0, 1, 100, dtype=torch.float64)
    >>> scale = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    >>> k = torch.exp(-((x[:, None] - x) / scale) ** 2)
    >>> tt.kron_log_likelihood([k, k], torch.randn(100, 100, dtype=torch.float64), noise=0.1).backward()

`quant_matmul` multiplies tensors (..., inputs) of float32 with matrices of `telamon.quant`, whose codes are fixed, and
is differentiable to every order in the tensors; `QuantLinear` is a module of it. `fwht` is the Walsh-Hadamard
transform, and cauchy_schwarz_* pull weights towards two or three values.

    >>> w = telamon.quant.quantize_layer(numpy.random.default_rng(0).standard_normal((100, 64)), method="hqq", bits=3)
    >>> layer = tt.QuantLinear.from_matrix(w)
    >>> layer(torch.randn(7, 64)).shape
    torch.Size([7, 100])
"""

from . import _kron, _quant, _quant_modules, _so3, _so3_modules, _special
from ._kron import *  # noqa: F403
from ._quant import *  # noqa: F403
from ._quant_modules import *  # noqa: F403
from ._so3 import *  # noqa: F403
from ._so3_modules import *  # noqa: F403
from ._special import *  # noqa: F403

__all__ = [
    *_special.__all__,
    *_so3.__all__,
    *_so3_modules.__all__,
    *_kron.__all__,
    *_quant.__all__,
    *_quant_modules.__all__,
]
