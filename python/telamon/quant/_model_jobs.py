"""Layers as jobs: pure, picklable calls that joblib, or any executor that is passed, runs in any order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ._check import as_whole
from ._layer import quantize_layer
from ._matrix import QuantizedMatrix

__all__ = ["Job", "Result", "run_job", "run_jobs"]


class Job(NamedTuple):
    """One call of `quantize_layer`. threads: those of the kernels where the job runs, or None to leave them alone."""

    name: str
    weight: NDArray[np.float32]
    hessian: NDArray[np.float64] | None
    options: dict[str, Any]
    threads: int | None = None


class Result(NamedTuple):
    """What a job made, and the seconds it took."""

    name: str
    matrix: QuantizedMatrix
    seconds: float


def run_job(job: Job) -> Result:
    """Quantize one layer."""
    start = time.perf_counter()
    before = _core.get_num_threads()
    if job.threads is not None:
        _core.set_num_threads(job.threads)
    try:
        matrix = quantize_layer(job.weight, job.hessian, **job.options)
    except ValueError as error:
        raise ValueError(f"{job.name}: {error}") from None
    finally:
        _core.set_num_threads(before)
    return Result(job.name, matrix, time.perf_counter() - start)


def run_jobs(where: str, jobs: Sequence[Job], executor: Any = None, n_jobs: int | None = None) -> list[Result]:
    """All jobs, in their order.

    Parameters
    ----------
    executor : object, optional
        With `submit`, as those of concurrent.futures and the client of dask.distributed; or with `map`, as pools of
        multiprocessing and of ray.util.multiprocessing; or the module `ray` itself. joblib where not given.
    n_jobs : int, optional
        Of joblib. Its default is one, or what `joblib.parallel_config` says: the kernels use all threads by themselves.
    """
    if not jobs:
        return []
    if executor is None:
        return _joblib(where, jobs, n_jobs)
    if n_jobs is not None:
        raise ValueError(f"{where}: n_jobs is for joblib; an executor has its own number of workers, so pass only one")
    if hasattr(executor, "scatter") and hasattr(executor, "submit"):  # dask, which warns of large arguments otherwise
        futures = [executor.submit(run_job, executor.scatter(job, hash=False), pure=False) for job in jobs]
        return [future.result() for future in futures]
    if hasattr(executor, "submit"):
        futures = [executor.submit(run_job, job) for job in jobs]
        return [future.result() for future in futures]
    if hasattr(executor, "map"):
        return list(executor.map(run_job, jobs))
    if hasattr(executor, "remote") and hasattr(executor, "get"):
        remote = executor.remote(run_job)
        return list(executor.get([remote.remote(job) for job in jobs]))
    raise TypeError(
        f"{where}: executor is a {type(executor).__name__} without submit or map; pass an executor of "
        "concurrent.futures, a client of dask.distributed, a pool, or the module ray"
    )


def _joblib(where: str, jobs: Sequence[Job], n_jobs: int | None) -> list[Result]:
    try:
        import joblib
    except ImportError:
        raise ImportError(
            f"{where}: joblib is not installed; pip install 'telamon[quant]', or pass executor="
        ) from None
    if n_jobs is not None and n_jobs != -1:
        as_whole(where, "n_jobs", n_jobs, 1)
    with joblib.Parallel(n_jobs=n_jobs) as parallel:
        if parallel.n_jobs != 1:  # so that processes do not crowd each other out
            threads = max(1, _core.get_num_threads() // joblib.effective_n_jobs(parallel.n_jobs))
            jobs = [job._replace(threads=threads) for job in jobs]
        before = _core.get_num_threads()
        try:
            return list(parallel(joblib.delayed(run_job)(job) for job in jobs))
        finally:
            _core.set_num_threads(before)  # jobs in threads of one process undo each other's setting in any order
