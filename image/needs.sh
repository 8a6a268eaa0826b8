# shellcheck shell=bash disable=SC2154
# What image/build needs on the machine that builds: which packages, and how they are installed. Sourced.

# command=package, for Debian 12 or later on amd64.
NEEDS="qemu-aarch64-static=qemu-user-static mksquashfs=squashfs-tools mkimage=u-boot-tools mkfs.ext4=e2fsprogs
    mkfs.vfat=dosfstools mcopy=mtools sfdisk=fdisk depmod=kmod cpio=cpio zstd=zstd xz=xz-utils dpkg-deb=dpkg
    fdtget=device-tree-compiler"
CROSS_PACKAGES="gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
# Debian keeps a second, current Rust for its browsers; its arm64 half is what a cross build needs.
DEBIAN_RUST_PACKAGES="rustc-web libstd-rust-web-dev:arm64"

# missing_packages - the packages whose commands are not there.
missing_packages() {
    local need
    for need in $NEEDS; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${need%=*}" > /dev/null || printf '%s ' "${need#*=}"
    done
    [ -r "$DEBIAN_KEYRING" ] || printf 'debian-archive-keyring '
    [ -z "$BINARY" ] || return 0
    [ "$(cross_toolchain)" = cross ] || command -v aarch64-linux-gnu-gcc > /dev/null || printf '%s ' "$CROSS_PACKAGES"
    [ -n "$(cross_toolchain)" ] || printf '%s ' "$DEBIAN_RUST_PACKAGES"
}

# cross_toolchain - which Rust can make arm64 programs here: rustup, debian, cross or nothing.
cross_toolchain() {
    local target=lib/rustlib/aarch64-unknown-linux-gnu/lib
    if [ -d "$(rustc --print sysroot 2>/dev/null)/$target" ]; then echo rustup
    elif [ -x /usr/bin/rustc ] && [ -d "$(/usr/bin/rustc --print sysroot)/$target" ]; then echo debian
    elif command -v cross > /dev/null && { command -v docker || command -v podman; } > /dev/null; then echo cross
    fi
}

require_tools() {
    local missing line
    PATH=$PATH:/usr/sbin:/sbin
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    line="apt-get install -y --no-install-recommends $missing"
    if [ -z "$INSTALL" ]; then
        die "this machine lacks some packages. Run image/build --install, or this line as root:
  dpkg --add-architecture arm64 && apt-get update && $line"
    fi
    say "[needs] installing $missing"
    case $missing in *:arm64*) dpkg --add-architecture arm64 ;; esac
    apt-get -qq update
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing > "$OUT/apt.log" 2>&1 ||
        die "apt-get failed; its words are in $OUT/apt.log"
    missing=$(missing_packages)
    [ -z "$missing" ] || die "still missing after the installation: $missing"
}
