"""`telamon.special`, `telamon.so3`, `telamon.kron` and `telamon.quant` on NVIDIA GPUs.

The functions of `telamon.special` take CuPy arrays, torch CUDA tensors, or any object with
``__cuda_array_interface__`` (Numba's device arrays), broadcast them, and return the same kind of array. Everything
stays on the device and on the current stream of CuPy or PyTorch, and nothing waits for it.

    >>> import cupy, telamon
    >>> x = cupy.linspace(0.1, 1000, 10**7)
    >>> telamon.cuda.log_iv(2.5, x)            # a CuPy array

Call these functions, not those of `telamon.special`, on GPU arrays: the latter are NumPy ufuncs, and CuPy's arrays
accept only ufuncs that CuPy itself knows.

Of `telamon.so3`, `gaunt_product` takes such arrays here, and `telamon.torch` has all of it for CUDA tensors. The first
call with new degrees uploads tables, and waits for that: let one go before a CUDA graph is captured or time is taken.

    >>> x = cupy.random.standard_normal((10000, 16, 64), dtype="float32")     # degrees 0 to 3, 64 channels
    >>> telamon.cuda.gaunt_product(x, x)

Of `telamon.kron`, `kron_matmul`, `kron_eigh`, `kron_solve`, `kron_logdet` and `kron_log_likelihood` take such arrays,
and for tensors have the gradients of `telamon.torch`. They call cuBLAS and cuSOLVER, which come with PyTorch and CuPy
or by ``pip install nvidia-cublas nvidia-cusolver``, and are loaded by the first call.

    >>> k = cupy.exp(-cupy.linspace(-1, 1, 1000)[:, None] ** 2 * cupy.ones(1000))
    >>> telamon.cuda.kron_matmul([k, k], cupy.random.standard_normal((1000, 1000)))

Of `telamon.quant`, `quant_matmul` and `quant_dequantize` take packed matrices on the GPU, and `telamon.torch` has
`QuantLinear`.

    >>> w = telamon.quant.quantize_layer(weights, hessian, bits=4)
    >>> telamon.cuda.quant_matmul(x, cupy.asarray(w.packed), cupy.asarray(w.codebooks), bits=4)

The kernels are in libtelamon_cuda, which is there when telamon was built with ``-C cmake.define.TELAMON_CUDA=ON``. The
environment variable ``TELAMON_CUDA_LIBRARY`` names another file.
"""

from . import _kron, _quant, _so3, _special
from ._kron import *  # noqa: F403
from ._library import is_available
from ._quant import *  # noqa: F403
from ._so3 import *  # noqa: F403

# What telamon.torch calls.
from ._so3 import so3_conv, so3_harmonics, so3_monomial, so3_product, so3_rotate, so3_wigner  # noqa: F401
from ._special import *  # noqa: F403
from ._special import launch as launch

__all__ = [*_special.__all__, *_so3.__all__, *_kron.__all__, *_quant.__all__, "is_available"]
