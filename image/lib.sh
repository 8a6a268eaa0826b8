# shellcheck shell=bash disable=SC2154
# Helpers for image/build and image/steps/*. Sourced, never run.
# Owns: messages, stage stamps, and the private apt that fetches and verifies arm64 packages.

say()  { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die()  { printf 'image/build: %s\n' "$*" >&2; exit 1; }

# hash_files PATH… - one hash over names, modes and contents, whatever the checkout's time stamps are.
hash_files() {
    find "$@" \( -type f -o -type l \) -not -name '*.swp' -print0 | sort -z |
        while IFS= read -r -d '' file; do
            if [ -L "$file" ]; then printf 'link %s %s\n' "$file" "$(readlink "$file")"
            else printf '%s %s\n' "$(stat -c %a "$file")" "$(sha256sum "$file")"; fi
        done
}

# stage_key NAME - the key a finished stage was made from; empty if it never finished.
stage_key() { cat "$OUT/.stamps/$1" 2>/dev/null || true; }

# run_stage FILE - runs one step unless its inputs are those of the last finished run.
# A step file sets `title` and `outputs`, and defines `inputs` (prints whatever its result depends on) and `make`.
run_stage() {
    local file=$1 name key begin
    name=$(basename "$file")
    # shellcheck source=/dev/null
    . "$file"
    key=$({ inputs && cat "$file" "$IMAGE/lib.sh"; } | sha256sum | cut -c1-64) || die "step $name failed"
    if [ "$(stage_key "$name")" = "$key" ] && outputs_exist && ! stale; then
        say "[$name] $title: unchanged"
        return
    fi
    say "[$name] $title …"
    rm -f "$OUT/.stamps/$name"
    begin=$(date +%s)
    make
    printf '%s\n' "$key" > "$OUT/.stamps/$name"
    say "[$name] $title: done in $(($(date +%s) - begin)) s"
}

# A step may say that its result is too old although its inputs are the same.
stale() { false; }

outputs_exist() {
    local output
    for output in $outputs; do [ -e "$OUT/$output" ] || return 1; done
}

# list FILE - the words of a list file without its comments.
list() { sed 's/#.*//' "$1" | xargs; }

# debian_mirror ORIGIN SUFFIX - the mirror that this machine's own apt uses.
debian_mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 2>/dev/null |
        sed -n "s/^Debian $1 \(.*\)/\1/p" | head -n 1
}

# apt_arm64 COMMAND… - apt-get for arm64 with its own lists, status and keyring: nothing of this machine's.
apt_arm64()       { apt-get -q -c "$CACHE/apt/apt.conf" "$@"; }
apt_arm64_cache() { apt-cache -q -c "$CACHE/apt/apt.conf" "$@"; }

apt_arm64_setup() {
    local apt=$CACHE/apt mirror=${DEBIAN_MIRROR:-$(debian_mirror Debian)}
    local security=${DEBIAN_SECURITY_MIRROR:-$(debian_mirror Debian-Security)}
    [ -n "$mirror" ] || die "this machine's apt knows no Debian mirror; name one with DEBIAN_MIRROR=URL"
    [ -n "$security" ] || security=${mirror%/}-security
    [ -r "$DEBIAN_KEYRING" ] || die "$DEBIAN_KEYRING is missing (package debian-archive-keyring)"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/empty/partial"
    : > "$apt/status"
    {
        echo "deb $mirror $DEBIAN_SUITE main non-free-firmware"
        echo "deb $mirror $DEBIAN_SUITE-updates main"
        echo "deb $security $DEBIAN_SUITE-security main"
        echo "deb $mirror $KERNEL_SUITE main non-free-firmware"
        echo "deb $mirror $FIRMWARE_SUITE main non-free-firmware"
    } | sed "s|^deb |&[arch=arm64 signed-by=$DEBIAN_KEYRING] |" > "$apt/sources.list"
    # Only what a step names by suite may come from the other suites.
    printf 'Package: *\nPin: release n=%s\nPin-Priority: 1\n\n' "$KERNEL_SUITE" "$FIRMWARE_SUITE" > "$apt/preferences"
    cat > "$apt/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "$apt/preferences";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache::archives "$apt/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
CONF
}

# deb NAME - the cached file of one package of the lock file.
deb() {
    local file
    file=$(awk -v start="$1_" 'index($2, start) == 1 { print $2; exit }' "$OUT/packages.lock")
    [ -n "$file" ] || die "package $1 is not in packages.lock"
    printf '%s\n' "$CACHE/apt/archives/$file"
}

# make_ext4 FILE MIB OPTION… - a fresh, sparse file system image.
make_ext4() {
    local file=$1 mib=$2; shift 2
    rm -f "$file"
    truncate -s "${mib}M" "$file"
    mkfs.ext4 -q -b 4096 "$@" "$file"
}
