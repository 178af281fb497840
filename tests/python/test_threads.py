"""The thread pool, from Python: the count, the same bits for every count, forks, rivals, threadpoolctl."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import telamon
from telamon import special


def run_python(code, **environment):
    """Run code in a fresh interpreter, with none of our variables but those given; its output, or the error's."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("TELAMON_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr


@pytest.fixture(autouse=True)
def restore_threads():
    before = telamon.get_num_threads()
    yield
    telamon.set_num_threads(before)


def test_count_is_set_and_got():
    telamon.set_num_threads(3)
    assert telamon.get_num_threads() == 3
    for bad in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            telamon.set_num_threads(bad)
    with pytest.raises(TypeError):
        telamon.set_num_threads("two")
    assert telamon.get_num_threads() == 3


PRINT_COUNT = "import telamon; print(telamon.get_num_threads())"


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({"TELAMON_NUM_THREADS": "5"}, "5"),
        ({"OMP_NUM_THREADS": "4"}, "4"),
        ({"OMP_NUM_THREADS": "4,2"}, "4"),
        ({"TELAMON_NUM_THREADS": "5", "OMP_NUM_THREADS": "4"}, "5"),
    ],
)
def test_count_comes_from_the_environment(environment, count):
    assert run_python(PRINT_COUNT, **environment) == count


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity masks")
def test_count_is_what_the_process_may_use():
    assert run_python(PRINT_COUNT) == str(len(os.sched_getaffinity(0)))
    # A nonsensical OMP_NUM_THREADS is OpenMP's to complain of.
    assert run_python(PRINT_COUNT, OMP_NUM_THREADS="many") == str(len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("bad", ["0", "-2", "two", "2.5", "99999999999999999999"])
def test_nonsense_in_the_environment_is_refused_at_import(bad):
    message = run_python("import telamon", TELAMON_NUM_THREADS=bad)
    assert f'ImportError: TELAMON_NUM_THREADS is "{bad}"; it must be a positive integer' in message


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("isa", telamon.available_isas())
def test_bits_do_not_depend_on_the_count(dtype, isa):
    before = telamon.active_isa()
    telamon.set_isa(isa)
    try:
        rng = np.random.default_rng(7)
        v, x = 10 ** rng.uniform(-3, 4, (2, 100_003)).astype(dtype)
        for ufunc in (special.log_iv, special.log_kv, special.iv_ratio):
            telamon.set_num_threads(1)
            want = ufunc(v, x)
            for threads in (2, 3, 8):
                telamon.set_num_threads(threads)
                assert np.array_equal(ufunc(v, x), want, equal_nan=True)
    finally:
        telamon.set_isa(before)


def test_python_threads_share_the_pool():
    telamon.set_num_threads(2)
    x = np.linspace(0.1, 100, 50_000)
    want = special.log_iv(1.5, x)
    with ThreadPoolExecutor(4) as executor:
        for got in executor.map(lambda _: special.log_iv(1.5, x), range(40)):
            assert np.array_equal(got, want)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_computes():
    # Python warns of forking with threads alive, rightly for most libraries; that this one survives it is the point.
    code = """
    import multiprocessing, os, signal, threading, warnings
    import numpy as np
    import telamon
    from telamon.special import log_iv

    warnings.simplefilter("ignore")
    telamon.set_num_threads(2)
    x = np.linspace(0.1, 100, 200_000)
    want = log_iv(1.5, x)  # starts the pool

    # Other threads keep the pool busy while this one forks.
    stop = threading.Event()
    def work():
        while not stop.is_set():
            log_iv(1.5, x)
    threads = [threading.Thread(target=work) for _ in range(2)]
    [t.start() for t in threads]
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # a hang must fail, not wait
            os._exit(0 if np.array_equal(log_iv(1.5, x), want) else 1)
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    [t.join() for t in threads]

    assert np.array_equal(log_iv(1.5, x), want)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for got in pool.starmap(log_iv, [(1.5, x)] * 4):
            assert np.array_equal(got, want)
    print("done")
    """
    assert run_python(code) == "done"


THREADPOOLCTL = """
    import {first}
    import {second}
    import telamon, threadpoolctl
    {register}
    def count():
        return [i["num_threads"] for i in threadpoolctl.threadpool_info() if i["internal_api"] == "telamon"]
    telamon.set_num_threads(5)
    with threadpoolctl.threadpool_limits(2):
        limited = telamon.get_num_threads()
    print(count(), limited, telamon.get_num_threads())
"""


@pytest.mark.parametrize(
    ("first", "second", "register", "want"),
    [
        ("threadpoolctl", "telamon", "", "[5] 2 5"),
        ("telamon", "threadpoolctl", "", "[] 5 5"),  # documented: telamon does not watch for later imports
        ("telamon", "threadpoolctl", "telamon.register_threadpoolctl()", "[5] 2 5"),
        ("threadpoolctl", "telamon", "telamon.register_threadpoolctl()", "[5] 2 5"),
    ],
)
def test_threadpoolctl_sees_the_pool(first, second, register, want):
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    assert run_python(THREADPOOLCTL.format(first=first, second=second, register=register)) == want
