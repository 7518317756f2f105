#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Does what the Dockerfiles do, without a container engine: in a Debian made by debootstrap.
#
# usage: try_image.sh [--release NAME] [--build cpu|gpu] [--tensorflow VERSION] [--wheels FOLDER]
#
#   --release     Debian's: bookworm (12, the default), trixie (13), bullseye (11)
#   --build       tensorflow-cpu (the default), or tensorflow, which is the build for GPUs and imports
#                 without one
#   --tensorflow  its version; default: 2.21.0
#   --wheels      where the wheel is that fits the release's Python (3.11 in Debian 12, 3.13 in 13);
#                 default: dist of this checkout
#
# Debian 11 has Python 3.9, which is too old: there, the Python 3.11 of Debian 12 is compiled from its
# source package first, some minutes. Needs root and debootstrap. Roots are cached in
# sagemaker_tensorflow/roots of $XDG_CACHE_HOME or ~/.cache; what is installed into them is not.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
release=bookworm build=cpu tensorflow=2.21.0 wheels=$here/dist
while [ $# -gt 0 ]; do
  if [ $# -eq 1 ] && [ "$1" != -h ] && [ "$1" != --help ]; then
    echo "error: $1 needs a value; see --help" >&2
    exit 2
  fi
  case $1 in
    --release) release=$2 ;;
    --build) build=$2 ;;
    --tensorflow) tensorflow=$2 ;;
    --wheels) wheels=$2 ;;
    -h | --help)
      sed -n '4,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *)
      echo "error: no such option: $1; see --help" >&2
      exit 2
      ;;
  esac
  shift 2
done
case $build in
  cpu) requirement=tensorflow-cpu==$tensorflow ;;
  gpu) requirement=tensorflow==$tensorflow ;;
  *)
    echo "error: --build is cpu or gpu" >&2
    exit 2
    ;;
esac

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
if [ "$(id -u)" -ne 0 ]; then
  echo "error: changing the root folder takes root: sudo $0 ..." >&2
  exit 1
fi
if ! command -v debootstrap > /dev/null; then
  echo "error: no debootstrap; install it with: apt-get install debootstrap" >&2
  exit 1
fi
if ! compgen -G "$wheels/*.whl" > /dev/null; then
  echo "error: no wheel in $wheels; build it with: make wheel" >&2
  exit 1
fi

# $1 is a root folder, the rest a command that runs in it. Mounts are seen by that command only and
# vanish with it.
in_root() {
  # shellcheck disable=SC2016 # for the inner shell
  unshare --mount --propagation private sh -euc '
    root=$1; shift
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/dev/shm" 2> /dev/null || true
    exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
  ' sh "$@"
}

# Settings of this system that reach its package indices.
network=()
for name in http_proxy https_proxy no_proxy PIP_INDEX_URL PIP_CERT PIP_DEFAULT_TIMEOUT; do
  if [ -n "${!name:-}" ]; then
    network+=("$name=${!name}")
  fi
done

umask 022
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sagemaker_tensorflow/roots
base=$cache/$release
if ! [ -d "$base" ]; then
  mkdir -p "$cache"
  new=$(mktemp -d "$cache/.$release.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  echo "Making a Debian $release"
  debootstrap --variant=minbase --include=ca-certificates "$release" "$new" "$mirror" > "$new.log" \
    || { tail -20 "$new.log" >&2; exit 1; }
  rm -f "$new.log"
  cp /etc/resolv.conf "$new/etc/"
  # Also certificates of a proxy that this system trusts.
  cp /etc/ssl/certs/ca-certificates.crt "$new/etc/ssl/certs/"
  if [ "$release" = bullseye ]; then
    echo "Compiling the Python of Debian 12"
    echo "deb-src $mirror bookworm main" > "$new/etc/apt/sources.list.d/bookworm.list"
    in_root "$new" "${network[@]}" sh -euc '
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc make xz-utils \
        libc6-dev libssl-dev zlib1g-dev libffi-dev libbz2-dev liblzma-dev libsqlite3-dev
      mkdir /tmp/python
      cd /tmp/python
      apt-get source -qq --download-only python3.11
      tar xf python3.11_*.orig.tar.*
      cd Python-3.11*
      ./configure --quiet --prefix=/opt/python
      make -s -j2
      make -s install
      rm -rf /tmp/python
    ' > "$new/python.log" 2>&1 || { tail -20 "$new/python.log" >&2; exit 1; }
  fi
  chmod 755 "$new"
  mv "$new" "$base"
  trap - EXIT
fi

root=$(mktemp -d "$cache/.run.XXXXXX")
trap 'rm -rf "$root"' EXIT
cp -a "$base/." "$root"
mkdir "$root/tmp/image"
cp "$here/docker/install.sh" "$here/tests/python/packaging/smoke.py" "$wheels"/*.whl "$root/tmp/image"
if [ "$release" = bullseye ]; then
  network+=(PYTHON=/opt/python/bin/python3.11)
fi
echo "Debian $release with $requirement:"
in_root "$root" "${network[@]}" /tmp/image/install.sh "$requirement"
if [ "$build" = gpu ]; then
  # What gpu.Dockerfile installs on top, gigabytes: only whether it is to be had.
  echo "Resolving tensorflow[and-cuda]==$tensorflow"
  in_root "$root" "${network[@]}" /tmp/image/install.sh --dry-run "tensorflow[and-cuda]==$tensorflow"
fi
