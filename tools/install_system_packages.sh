#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what the build needs from the system, as far as it is missing.
#
# usage: install_system_packages.sh [--test | --bench] <python>
#
# --test: also what only `make test` and `make fuzz` need: clang with libFuzzer, and Open MPI.
# --bench: also what only `make bench` needs: igzip.
#
# Looks for the files themselves and not for packages, so that anything installed by other means
# counts. Without root, sudo or apt-get, one line names what is missing.
set -euo pipefail

for_what=build
case ${1-} in
  --test | --bench)
    for_what=${1#--}
    shift
    ;;
esac
python=${1:?usage: install_system_packages.sh [--test | --bench] <python>}
cxx=${CXX:-c++}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  echo "error: '$python' is not a Python 3.10 or later; name one: make PYTHON=..." >&2
  exit 1
fi
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

missing=()
if ! command -v "$cxx" > /dev/null; then
  missing+=(g++)
fi
has_header() {
  echo "#include <$1>" | "$cxx" -E -x c++ - > /dev/null 2>&1
}
has_header isa-l/igzip_lib.h || missing+=(libisal-dev)
has_header gtest/gtest.h || missing+=(libgtest-dev)
has_header gmock/gmock.h || missing+=(libgmock-dev)
has_header zlib.h || missing+=(zlib1g-dev)
python_include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -e "$python_include/Python.h" ] || missing+=("python$version-dev")
# Debian splits ensurepip from Python; a venv without it has no pip.
"$python" -c 'import ensurepip, venv' 2> /dev/null || missing+=("python$version-venv")

# Debian has libFuzzer in a package of its own, named after the version of clang; others do not.
can_fuzz() {
  command -v clang++ > /dev/null \
    && echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' \
      | clang++ -fsanitize=fuzzer,address -x c++ - -o /dev/null > /dev/null 2>&1
}
if [ "$for_what" = test ] && ! can_fuzz; then
  missing+=(clang)
  llvm_version=$(apt-cache depends clang 2> /dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')
  if apt-cache show "libclang-rt-$llvm_version-dev" > /dev/null 2>&1; then
    missing+=("libclang-rt-$llvm_version-dev")
  fi
fi

if [ "$for_what" = test ] && ! command -v mpirun > /dev/null; then
  missing+=(openmpi-bin)
fi

if [ "$for_what" = bench ] && ! command -v igzip > /dev/null; then
  missing+=(isal)
fi

if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

run_as_root=()
if [ "$(id -u)" -ne 0 ]; then
  run_as_root=(sudo)
  # Asking for a password needs somebody to ask.
  [ -t 0 ] || run_as_root=(sudo -n)
fi
if ! command -v apt-get > /dev/null \
  || { [ ${#run_as_root[@]} -gt 0 ] && ! "${run_as_root[@]}" true 2> /dev/null; }; then
  echo "error: missing on this system: ${missing[*]}; install with: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi

echo "Installing ${missing[*]}"
"${run_as_root[@]}" apt-get update -qq
"${run_as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}"
