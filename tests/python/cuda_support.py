"""A stand-in for CuPy whose arrays lie on the host, for the tests of telamon.cuda that need no GPU."""

import contextlib
import types

import numpy as np


class HostArray(np.ndarray):
    """Stands in for cupy.ndarray."""

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self):
        device = contextlib.nullcontext()
        device.id = 0
        return device

    @property
    def __cuda_array_interface__(self):
        return self.__array_interface__


def host_cupy() -> types.ModuleType:
    """What telamon.cuda uses of CuPy; the current stream is number 77."""
    module = types.ModuleType("cupy")
    module.ndarray = HostArray
    module.asarray = lambda a, dtype=None: np.asarray(a, dtype).view(HostArray)
    module.empty = lambda shape, dtype: np.full(shape, np.nan, dtype).view(HostArray)
    module.ones = lambda shape, dtype: np.ones(shape, dtype).view(HostArray)
    module.broadcast_to = lambda a, shape: np.broadcast_to(a, shape, subok=True)
    module.ascontiguousarray = lambda a: np.ascontiguousarray(a).view(HostArray)
    module.cuda = types.SimpleNamespace(get_current_stream=lambda: types.SimpleNamespace(ptr=77))
    return module
