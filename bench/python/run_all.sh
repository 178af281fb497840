#!/bin/sh
# Every benchmark whose numbers stand in the docs, with the telamon that PYTHON has installed:
#   PYTHON=.venv/bin/python bench/python/run_all.sh [options of `telamon bench`]
# Writes bench/results/<core>-<cpu>.{json,md} and -*.png; the docs include the Markdown.
# Run it on a machine with nothing else to do: the load is printed, and a busy machine shows in the bands.
set -eu
cd "$(dirname "$0")/../.."
# One thread in every library that is compared, and in telamon.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
for core in special so3 kron; do
  "${PYTHON:-python3}" -m telamon bench "$core" --results bench/results "$@"
done
