#!/bin/sh
# From a fresh clone to a database with data in it: installs the PostgreSQL server where there is none,
# builds kdata, runs `kdata demo`. May be run again at any time: what is done already is skipped.
set -eu

cd "$(dirname "$0")/.."
PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

# In Korean where the locale says so: say ENGLISH KOREAN
say() {
    case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in
        ko | ko.UTF-8 | ko_*.UTF-8 | ko_*.utf8) printf '\n==> %s\n' "$2" ;;
        *) printf '\n==> %s\n' "$1" ;;
    esac
}
fail() {
    printf '\nquickstart: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
run() {
    printf '    $ %s\n' "$*"
    "$@"
}
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        run "$@"
    elif has sudo; then
        run sudo "$@"
    else
        fail "this needs root and there is no sudo. Have root run: $*"
    fi
}

# Where kdata looks; version 15 or newer.
has_server() {
    [ -z "${DATABASE_URL:-}${KDATA_PG_BIN:-}" ] || return 0
    for initdb in /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb /usr/lib/postgresql[1-9]*/bin/initdb \
        /usr/libexec/postgresql[1-9]*/initdb /opt/homebrew/opt/postgresql@*/bin/initdb \
        /usr/local/opt/postgresql@*/bin/initdb /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin/initdb \
        /Applications/Postgres.app/Contents/Versions/*/bin/initdb "$(command -v initdb || true)"; do
        if [ -x "$initdb" ] && [ -x "${initdb%initdb}postgres" ]; then
            version=$("$initdb" --version | sed 's/.*) \([0-9]*\).*/\1/')
            [ "$version" -lt 15 ] || return 0
        fi
    done
    return 1
}

# A Rust as new as Cargo.toml asks for: distributions often ship an older one.
check_rust() {
    advice="get it from https://rustup.rs
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
and run this script again"
    has cargo || fail "Rust is missing: $advice"
    wanted=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
    found=$(cargo --version | sed 's/^cargo \([0-9.]*\).*/\1/')
    oldest=$(printf '%s\n%s\n' "$wanted" "$found" | sort -t . -k 1,1n -k 2,2n -k 3,3n | head -n 1)
    [ "$oldest" = "$wanted" ] || fail "Rust $found is too old, kdata needs $wanted: $advice"
}

install_packages() {
    if has apt-get; then
        has_server || set -- postgresql
        has cc || set -- "$@" gcc libc6-dev
        as_root apt-get update
        # Debian starts a cluster of its own on port 5432; kdata's is another one and does not mind.
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
    elif has dnf; then
        has_server || set -- postgresql-server
        has cc || set -- "$@" gcc
        as_root dnf install -y "$@"
    elif has brew; then
        has_server || run brew install postgresql@16
    else
        fail "found neither apt-get, dnf nor brew: install a PostgreSQL server (15 or newer) and a C compiler"
    fi
    has_server || fail "the PostgreSQL of this system is older than 15: see https://www.postgresql.org/download/"
}

say "This sets up kdata in three steps: PostgreSQL server binaries, the build, a demo database." \
    "kdata를 세 단계로 준비합니다: PostgreSQL 서버, 빌드, 데모 데이터베이스."
check_rust

say "1. PostgreSQL server and C compiler" "1. PostgreSQL 서버와 C 컴파일러"
if has_server && has cc; then
    echo "    found"
else
    install_packages
fi

say "2. The build (a few minutes the first time)" "2. 빌드 (처음에는 몇 분 걸립니다)"
run cargo build --release --locked

say "3. The demo" "3. 데모"
run "${CARGO_TARGET_DIR:-target}/release/kdata" demo
