#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Unpacks Debian 11's compiler, C library and ISA-L into a folder, for wheels that run on older systems.
#
# usage: make_toolchain.sh <folder>
#
# Afterwards <folder>/c++ is a compiler whose results need no newer glibc and libstdc++ than Debian
# 11's. Needs apt-get and Debian's archive keys, and no root: packages are downloaded with their
# signatures checked, and only unpacked; nothing of the system is changed. Does nothing if it is there.
set -euo pipefail

release=bullseye
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages=(g++-10 libisal-dev)

folder=$(realpath -m "${1:?usage: make_toolchain.sh <folder>}")
if [ -x "$folder/c++" ]; then
  exit 0
fi
arch=$(dpkg --print-architecture)
triplet=$(uname -m)-linux-gnu
if ! [ -e "$keyring" ]; then
  echo "error: no $keyring; install it with: apt-get install debian-archive-keyring" >&2
  exit 1
fi

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT

# An apt of its own, whose system has no packages yet: it names all that these two need.
apt=$work/apt
mkdir -p "$apt"/{etc/apt.conf.d,etc/preferences.d,state/lists/partial,cache/archives/partial}
touch "$apt/state/status"
echo "deb [signed-by=$keyring] $mirror $release main" > "$apt/etc/sources.list"
options=(-qq -o "Dir::Etc=$apt/etc" -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/state/status"
  -o "Dir::Cache=$apt/cache" -o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
  -o APT::Sandbox::User= -o Acquire::Retries=3 -o APT::Update::Error-Mode=any)
echo "Downloading the compiler of Debian $release"
if ! apt-get "${options[@]}" update; then
  echo "error: no Debian $release at $mirror, see above; DEBIAN_MIRROR may name another mirror (releases that are" \
    "no longer supported move to http://archive.debian.org/debian)" >&2
  exit 1
fi
apt-get "${options[@]}" install -y --no-install-recommends --download-only "${packages[@]}"

root=$work/root
mkdir "$root"
for package in "$apt"/cache/archives/*.deb; do
  dpkg-deb -x "$package" "$root"
done
rm -rf "$apt"
# Absolute links would lead to this system's libraries.
find "$root" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
  ln -sfnr "$root$(readlink "$link")" "$link"
done
# The compiler itself runs with this system's glibc, which is newer and hence will do, and with its own
# arithmetic and binutils libraries.
mkdir "$root/toolchain"
for name in isl mpc mpfr gmp opcodes bfd ctf zstd; do
  find "$root/usr/lib/$triplet" -name "lib${name}[-.]*so*" -exec ln -sr -t "$root/toolchain" {} +
done
# What came into libstdc++ and glibc later than the systems that we aim at: std::filesystem is linked
# into each program, from the static library, and std::condition_variable does without
# pthread_cond_clockwait.
objects=$work/objects
mkdir "$objects"
ar="$root/usr/bin/$triplet-ar"
gcc=$root/usr/lib/gcc/$triplet/10
(cd "$objects" && LD_LIBRARY_PATH=$root/toolchain "$ar" x "$gcc/libstdc++.a" fs_dir.o fs_ops.o fs_path.o)
LD_LIBRARY_PATH=$root/toolchain "$ar" rcD "$root/toolchain/libfilesystem.a" "$objects"/*.o
sed -i '/define _GLIBCXX_USE_PTHREAD_COND_CLOCKWAIT/d' "$root/usr/include/$triplet/c++/10/bits/c++config.h"
cat > "$root/c++" << EOF
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")
export LD_LIBRARY_PATH="\$root/toolchain"
exec "\$root/usr/bin/$triplet-g++-10" "-B\$root/usr/bin/" "--sysroot=\$root" \\
  "\$@" "-L\$root/toolchain" -lfilesystem
EOF
chmod +x "$root/c++"
# Another process may have been faster, and be compiling with its own.
mv -T "$root" "$folder" 2> /dev/null || [ -x "$folder/c++" ]
