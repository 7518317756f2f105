#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs TensorFlow and the wheel into /opt/venv of a Debian or Ubuntu, and runs the smoke test.
#
# usage: install.sh <requirement>, e.g. tensorflow-cpu==2.21.0
#
# Beside this script are smoke.py and wheels, of which pip takes the one that fits. The Dockerfiles and
# tools/try_image.sh run it. PYTHON may name another interpreter than the system's python3.
set -eu

requirement=${1:?usage: install.sh <requirement>}
here=$(dirname "$(readlink -f "$0")")

if [ -z "${PYTHON:-}" ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 \
    --no-install-recommends python3 python3-venv > /dev/null
  rm -rf /var/lib/apt/lists/*
fi
"${PYTHON:-python3}" -m venv /opt/venv
/opt/venv/bin/pip install --quiet --no-cache-dir --find-links "$here" \
  "$requirement" 'sagemaker_tensorflow>=3'
/opt/venv/bin/python "$here/smoke.py"
