#!/usr/bin/env bash
# Tests and measures on a machine with an NVIDIA GPU, from a plain checkout:
#
#     bash bench/on_device.sh build tests+sanitize bench count sweep OUT
#
# OUT/report.txt and OUT/results.json grow as results come; called again with the same OUT, a stage does what is left.
# Needs CuPy, ml_dtypes, pytest and what they need; $PYTHON is the Python that has them (default: python3).
set -euo pipefail

if [ $# -ge 2 ] && [[ ${!#} != /* ]]; then
    set -- "${@:1:$#-1}" "$PWD/${!#}"
fi
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" -m bench.on_device "$@"
