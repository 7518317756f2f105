#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs TensorFlow and the wheel into /opt/venv of a Debian or Ubuntu, and runs the smoke test.
#
# usage: install.sh [--dry-run] <requirement>, e.g. tensorflow-cpu==2.21.0
#
# With --dry-run it only finds out whether all that the requirement asks for is to be had.
#
# Beside this script are smoke.py and wheels, of which the one for this Python is taken. The Dockerfiles and
# tools/try_image.sh run it. PYTHON may name another interpreter than the system's python3.
set -eu

dry_run=
if [ "${1:-}" = --dry-run ]; then
  dry_run=$1
  shift
fi
requirement=${1:?usage: install.sh [--dry-run] <requirement>}
here=$(dirname "$(readlink -f "$0")")

if ! [ -x /opt/venv/bin/pip ]; then
  if [ -z "${PYTHON:-}" ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 \
      --no-install-recommends python3 python3-venv > /dev/null
    rm -rf /var/lib/apt/lists/*
  fi
  "${PYTHON:-python3}" -m venv /opt/venv
fi
tag=$(/opt/venv/bin/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
# By its path, so that none of an index is taken for it.
set -- "$here"/sagemaker_tensorflow-*-"$tag-$tag"-*.whl
if ! [ -e "$1" ] || [ $# -ne 1 ]; then
  echo "error: not one wheel for $tag but: $*" >&2
  exit 1
fi
case $requirement in
  'tensorflow[and-cuda]==2.14.'*)
    # The extra of 2.14 also asks for a TensorRT that is no longer to be had. This is the rest of it.
    set -- "$1" "tensorflow==${requirement#*==}" nvidia-cublas-cu11==11.11.3.6 \
      nvidia-cuda-cupti-cu11==11.8.87 nvidia-cuda-nvcc-cu11==11.8.89 nvidia-cuda-runtime-cu11==11.8.89 \
      nvidia-cudnn-cu11==8.7.0.84 nvidia-cufft-cu11==10.9.0.58 nvidia-curand-cu11==10.3.0.86 \
      nvidia-cusolver-cu11==11.4.1.48 nvidia-cusparse-cu11==11.7.5.86 nvidia-nccl-cu11==2.16.5
    ;;
  *) set -- "$1" "$requirement" ;;
esac
/opt/venv/bin/pip install --quiet --no-cache-dir ${dry_run:+"$dry_run"} "$@"
if [ -z "$dry_run" ]; then
  /opt/venv/bin/python "$here/smoke.py"
fi
