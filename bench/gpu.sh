#!/usr/bin/env bash
# Builds, tests and measures all CUDA code on a machine with an NVIDIA GPU; needs no network.
#
#   bench/gpu.sh            writes bench/results/<device>.json and .md
#   PYTHON=/path/to/python bench/gpu.sh
#
# Wants there: nvcc, cmake, a C++ compiler, and a Python with NumPy, pybind11 and PyTorch for CUDA. Uses
# scikit-build-core, pytest, CuPy, Numba and compute-sanitizer where they are. A failed step is reported, and the next
# is taken all the same.
set -uo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
BUILD=build/gpu
SITE=$PWD/$BUILD/site
JOBS=$(nproc)

die() {
  echo "bench/gpu.sh: $*" >&2
  exit 2
}
has() { "$PYTHON" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$1') is None)"; }

command -v nvidia-smi >/dev/null || die "no nvidia-smi: this needs a machine with an NVIDIA GPU and its driver"
nvidia-smi -L | grep -q '^GPU' || die "nvidia-smi lists no GPU"
for tool in nvcc cmake "$PYTHON"; do
  command -v "$tool" >/dev/null || die "no $tool on the PATH"
done
for module in numpy torch pybind11; do
  has "$module" || die "$PYTHON has no $module; name another by PYTHON=..."
done
"$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || die "PyTorch of $PYTHON finds no GPU"

# The kernels are compiled for this machine's GPU alone: 8.9 becomes 89.
ARCH=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
DEFINES=(TELAMON_CUDA=ON "CMAKE_CUDA_ARCHITECTURES=$ARCH" CMAKE_BUILD_TYPE=Release)
if ! has scipy_openblas32 && ! ldconfig -p | grep -q liblapack; then
  echo "bench/gpu.sh: no BLAS for the host (scipy-openblas32, or the system's): without telamon.kron"
  DEFINES+=("TELAMON_CORES=special;so3")
fi

build_with_pip() {
  local options=()
  for define in "${DEFINES[@]}"; do options+=(-C "cmake.define.$define"); done
  "$PYTHON" -m pip install --quiet --no-index --no-deps --no-build-isolation --upgrade --target "$SITE" \
    -C "build-dir=$BUILD/pip" "${options[@]}" .
}

# What the wheel would hold, laid out by hand.
build_with_cmake() {
  local options=()
  for define in "${DEFINES[@]}"; do options+=("-D$define"); done
  cmake -S . -B "$BUILD/cmake" "${options[@]}" -DTELAMON_PYTHON=ON -DCMAKE_INSTALL_LIBDIR=lib \
    -DPython_EXECUTABLE="$(command -v "$PYTHON")" -Dpybind11_DIR="$("$PYTHON" -m pybind11 --cmakedir)" &&
    cmake --build "$BUILD/cmake" --parallel "$JOBS" &&
    mkdir -p "$SITE" && cp -r python/telamon "$SITE/" &&
    cmake --install "$BUILD/cmake" --prefix "$SITE/telamon"
}

failed=()
step() {
  local name=$1 start=$SECONDS
  shift
  printf '\n======== %s\n' "$name"
  "$@" || failed+=("$name")
  printf '======== %s: %d s\n' "$name" $((SECONDS - start))
}

build() {
  export CMAKE_BUILD_PARALLEL_LEVEL=$JOBS
  if has scikit_build_core; then build_with_pip; else build_with_cmake; fi
}

run_tests() {
  has pytest || { echo "no pytest here: the tests are not run"; return 0; }
  # Warnings are shown, not errors: the versions of the other packages are whatever this machine has.
  "$PYTHON" -m pytest -q -W default -p no:cacheprovider tests/python/test_cuda*.py
}

# Every kernel once, on little data, each tensor in an allocation of its own so that a step past its end is seen.
sanitize() {
  local tool
  tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  [ -x "$tool" ] || { echo "no compute-sanitizer here: memory accesses are not checked"; return 0; }
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$tool" --error-exitcode 1 "$PYTHON" bench/gpu.py --smoke
}

step build build
[ ${#failed[@]} -eq 0 ] || die "the build failed"
export PYTHONPATH=$SITE${PYTHONPATH:+:$PYTHONPATH}
step tests run_tests
step sanitizer sanitize
step benchmarks "$PYTHON" bench/gpu.py

if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}"
  exit 1
fi
