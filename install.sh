#!/bin/sh
# Installs tconnectsync as a service on Debian 12, Raspberry Pi OS "bookworm", Ubuntu 24.04 or newer, then starts its setup.
# Run it again at any time: it repairs an installation that was interrupted.   sudo ./install.sh --help
set -eu
umask 022

usage() {
    cat <<'END'
Usage: sudo ./install.sh [OPTION]... [-- OPTION OF SETUP...]

  (no option)      install the program and the service, then run `tconnectsync setup` if there is no configuration
  --update         install this folder's release over the old one and restart the service
  --uninstall      stop and remove the program; keep the configuration and the data
  --purge          with --uninstall: delete the configuration, the secrets and the data, too
  --prefix FOLDER  install into FOLDER instead of /opt/tconnectsync; without it, an installation is found where it is
  --no-setup       do not run `tconnectsync setup`
  --help           show this text
  -- OPTION...     options for `tconnectsync setup`, such as: -- --non-interactive --email me@example.org
END
}

say() { printf '%s\n' "$@"; }
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

command=/usr/local/bin/tconnectsync
installed=$(readlink "$command" 2> /dev/null || true)
installed=${installed%/bin/tconnectsync}
[ -n "$installed" ] && [ -e "$installed/installed-by-install.sh" ] || installed=

mode=install
prefix=${installed:-/opt/tconnectsync}
purge=no
setup=yes
while [ $# -gt 0 ]; do
    case $1 in
        --update) mode=update ;;
        --uninstall) mode=uninstall ;;
        --purge) purge=yes ;;
        --no-setup) setup=no ;;
        --prefix)
            [ $# -gt 1 ] || fail "--prefix needs a folder, such as --prefix /opt/tconnectsync. Nothing was changed."
            prefix=$2
            shift
            ;;
        --prefix=*) prefix=${1#--prefix=} ;;
        -h | --help)
            usage
            exit 0
            ;;
        --)
            shift
            break
            ;;
        *)
            usage >&2
            fail "" "Unknown option: $1. Nothing was changed."
            ;;
    esac
    shift
done
# what is left in "$@" is for `setup`
if [ $# -gt 0 ] && { [ "$mode" != install ] || [ "$setup" = no ]; }; then
    fail "Options after -- are for \`tconnectsync setup\`, which does not run now. Nothing was changed."
fi
[ "$purge" = no ] || [ "$mode" = uninstall ] || fail "--purge needs --uninstall. Nothing was changed."
case $prefix in ?*/) prefix=${prefix%/} ;; esac
case $prefix in
    / | /bin | /boot | /etc | /home | /lib | /opt | /root | /sbin | /usr | /usr/local | /var)
        fail "--prefix: $prefix belongs to the system. Use a folder of its own, such as /opt/tconnectsync. Nothing was changed." ;;
    */../* | */.. | */./* | *//*) fail "--prefix: write the path without .. and . in it. Nothing was changed." ;;
    *[!A-Za-z0-9/._-]*) fail "--prefix: use only letters, digits and / . _ - in the path. Nothing was changed." ;;
    /*) ;;
    *) fail "--prefix: $prefix must begin with /, such as /opt/tconnectsync. Nothing was changed." ;;
esac
[ "$(id -u)" -eq 0 ] || fail "Installing needs root. Run: sudo $0" "Nothing was changed."

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
units=/etc/systemd/system
completion=/usr/share/bash-completion/completions/tconnectsync
manual=/usr/local/share/man/man1/tconnectsync.1
mark=$prefix/installed-by-install.sh

has_systemd() { [ -d /run/systemd/system ] && command -v systemctl > /dev/null; }

if command -v dpkg > /dev/null && dpkg --status tconnectsync 2> /dev/null | grep -q '^Status: .* installed'; then
    fail "tconnectsync is installed as a Debian package. Use apt for it (sudo apt remove tconnectsync). Nothing was changed."
fi

if [ "$mode" != install ] && [ -n "$installed" ] && [ ! -e "$mark" ]; then
    fail "tconnectsync is not installed in $prefix, but in $installed. Leave out --prefix. Nothing was changed."
fi

# --- uninstall ------------------------------------------------------------------------------------------------------

services() { systemctl list-units --all --plain --no-legend 'tconnectsync.service' 'tconnectsync@*.service' 'tconnectsync-web.service' | cut -d' ' -f1; }

uninstall() {
    if has_systemd; then
        for unit in $(services); do
            systemctl disable --quiet --now "$unit" 2> /dev/null || true
        done
    fi
    for unit in "$here"/systemd/*.service; do rm -f "$units/$(basename "$unit")"; done
    rm -f "$completion" "$manual"
    if has_systemd; then systemctl daemon-reload; fi
    if [ -L "$command" ]; then rm "$command"; fi
    if [ -e "$mark" ]; then
        rm -rf "$prefix" "$prefix.new" "$prefix.old"
    elif [ -e "$prefix" ]; then
        say "$prefix was not made by this script. It was left alone."
    fi
    if [ "$purge" = yes ]; then
        rm -rf "$units/tconnectsync.service.d" "$units/tconnectsync@.service.d" "$units/tconnectsync-web.service.d"
        rm -rf /var/lib/tconnectsync /var/lib/private/tconnectsync
        rm -f /etc/credstore/tconnectsync.* /etc/credstore/tconnectsync@*
        # the settings and the data of a fleet's workers are not deleted
        for each in /var/lib/tconnectsync-* /var/lib/private/tconnectsync-* /etc/tconnectsync/* /etc/tconnectsync/.[!.]*; do
            case $each in */tconnectsync-fleet-* | */fleet*.env) ;; *) rm -rf "$each" ;; esac
        done
        rmdir /etc/tconnectsync 2> /dev/null || true
        say "tconnectsync is removed, with its configuration and data."
        say "What it sent to Nightscout stays there."
        [ ! -e /etc/tconnectsync ] || say "A fleet's workers on this computer were left alone."
    else
        say "tconnectsync is removed. Its configuration (/etc/tconnectsync) and data (/var/lib/tconnectsync) are still there."
        say "To delete them, too: sudo $0 --uninstall --purge"
    fi
}

if [ "$mode" = uninstall ]; then
    uninstall
    exit 0
fi

# --- install and update ---------------------------------------------------------------------------------------------

[ -f "$here/requirements.lock" ] || fail "This is not the complete source: requirements.lock is missing. Clone it again. Nothing was changed."
if [ -e "$prefix" ] && [ ! -e "$mark" ] && [ ! -x "$prefix/bin/tconnectsync" ]; then
    fail "$prefix exists and is not an installation of tconnectsync. Move it away, or use --prefix. Nothing was changed."
fi
if [ "$mode" = update ] && [ ! -x "$prefix/bin/tconnectsync" ]; then
    fail "tconnectsync is not installed in $prefix. Install it: sudo $0"
fi

missing() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null || echo python3
    python3 -c 'import ensurepip, venv' 2> /dev/null || echo python3-venv
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    # there are no ready packages for 32-bit ARM: some are compiled
    case $(uname -m) in armv*) for each in gcc libc6-dev python3-dev libffi-dev; do
        dpkg --status "$each" > /dev/null 2>&1 || echo "$each"
    done ;; esac
}

needed=$(missing | tr '\n' ' ')
if [ -n "$needed" ]; then
    command -v apt-get > /dev/null \
        || fail "These are missing: $needed" "This computer has no apt-get. Install them in its own way, then run this again. Nothing was changed."
    say "Installing with apt: $needed"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # What an interruption left is completed first. Another apt, such as the automatic one of a new computer, is waited for. A failed
    # update of the lists may be due to some other repository.
    # shellcheck disable=SC2086 # several words
    if ! {
        dpkg --configure -a
        apt-get --quiet update
        apt-get --quiet --yes -o DPkg::Lock::Timeout=300 install --no-install-recommends $needed
    } > "$log" 2>&1; then
        tail -n 5 "$log" >&2
        rm -f "$log"
        fail "" "apt could not install $needed. The lines above say why." \
            "Is this computer on the internet? Then run this command again: it continues where it stopped."
    fi
    rm -f "$log"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
        || fail "This system has $(python3 --version), and tconnectsync needs Python 3.10 or newer: Debian 12, Raspberry Pi OS \"bookworm\", Ubuntu 24.04."
fi

# Each release is a virtual environment of its own below the prefix, and $prefix/bin is a link to the one that is used. The link is
# replaced at the very end: an interruption leaves the old release at work.
mkdir -p "$prefix"
: > "$mark"
used=$(readlink "$prefix/bin" 2> /dev/null || true)
processes_of() { grep -lsF "/${1##*/}/" /proc/[0-9]*/maps | cut -d/ -f3 | tr '\n' ' '; }
remove_releases_except() {
    for old in "$prefix"/release-*; do
        # a daemon whose files are gone cannot log in, and cannot notify anybody
        if [ "$old" != "$1" ] && [ -z "$(processes_of "$old")" ]; then rm -rf "$old"; fi
    done
}
remove_releases_except "$prefix/${used%/bin}"
release=$(mktemp -d "$prefix/release-XXXXXX")
log=$(mktemp)
source=$(mktemp -d)
finished=no
clean_up() {
    rm -rf "$log" "$source"
    [ "$finished" = yes ] || rm -rf "$release"
    [ "$finished" = yes ] || [ -e "$prefix/bin" ] || rm -rf "$prefix"
}
trap clean_up EXIT
trap 'say "Interrupted. Run the command again: it starts over." >&2; exit 130' INT TERM HUP

quietly() {
    what=$1
    shift
    "$@" > "$log" 2>&1 || {
        tail -n 4 "$log" >&2
        fail "" "$what failed. The lines above say why." \
            "Is this computer on the internet, and is the disk not full (df -h /)? Then run this command again." \
            "An older installation was not changed, and still works."
    }
}

chmod 755 "$release"
say "Installing Python packages into $prefix (a minute or two) ..."
quietly "Making the virtual environment" python3 -m venv "$release"
quietly "Downloading the packages" "$release/bin/python" -m pip --disable-pip-version-check --no-input install --no-cache-dir \
    --progress-bar off --retries 2 --require-hashes --requirement "$here/requirements.lock"
# built from a copy, so that root leaves no files in your folder
for each in tconnectsync plugins pyproject.toml setup.py README.md LICENSE; do cp -R "$here/$each" "$source/"; done
quietly "Building tconnectsync" "$release/bin/python" -m pip --disable-pip-version-check --no-input install --no-cache-dir \
    --no-deps --no-build-isolation --no-index "$source"
quietly "Starting tconnectsync" "$release/bin/tconnectsync" --version
version=$("$release/bin/tconnectsync" --version)

mkdir -p "$(dirname "$completion")" "$(dirname "$manual")" "$(dirname "$command")"
_TCONNECTSYNC_COMPLETE=bash_source "$release/bin/tconnectsync" > "$release/completion" 2> /dev/null || true
"$release/bin/python" "$here/packaging/man_page.py" > "$release/tconnectsync.1"

# from here on the new release is used, and no interruption stops half-way
trap '' INT TERM HUP
finished=yes
if [ -d "$prefix/bin" ] && [ ! -L "$prefix/bin" ]; then # installed by hand before
    for each in lib lib64 include share pyvenv.cfg; do rm -rf "${prefix:?}/$each"; done
    mv "$prefix/bin" "$prefix/bin.old"
fi
for each in bin lib pyvenv.cfg; do
    ln -sfn "$(basename "$release")/$each" "$prefix/$each.new"
    mv -fT "$prefix/$each.new" "$prefix/$each"
done
rm -rf "$prefix/bin.old"
[ ! -s "$release/completion" ] || install -m 644 "$release/completion" "$completion"
install -m 644 "$release/tconnectsync.1" "$manual"
ln -sfn "$prefix/bin/tconnectsync" "$command"
for unit in "$here"/systemd/*.service; do
    mkdir -p "$units"
    sed "s#/opt/tconnectsync/#$prefix/#g" "$unit" > "$units/$(basename "$unit").new"
    chmod 644 "$units/$(basename "$unit").new"
    mv -f "$units/$(basename "$unit").new" "$units/$(basename "$unit")"
done
not_restarted=
if has_systemd; then
    systemctl daemon-reload
    trap : INT TERM HUP # it ends the wait for one service
    for unit in $(services); do systemctl try-restart "$unit" || not_restarted="$not_restarted $unit"; done
fi
remove_releases_except "$release"
for old in "$prefix"/release-*; do
    [ "$old" = "$release" ] || say "The old release still runs in these processes: $(processes_of "$old")" "Restart them."
done
say "Installed: $version. The command is tconnectsync, the manual page: man tconnectsync"
if [ -n "$not_restarted" ]; then
    say "" "These services did not restart:$not_restarted" "To see why: sudo systemctl status$not_restarted" \
        "Correct that, then: sudo systemctl restart$not_restarted" >&2
    [ $# -gt 0 ] || exit 1
fi

# --- setup ----------------------------------------------------------------------------------------------------------

trap - INT TERM HUP
if [ $# -eq 0 ] && [ -e /etc/tconnectsync/config.toml ]; then
    say "The configuration is kept: /etc/tconnectsync/config.toml. To see how it works: sudo tconnectsync status"
elif [ "$setup" = no ] || [ "$mode" = update ]; then
    say "Next: sudo tconnectsync setup"
elif [ $# -eq 0 ] && [ ! -t 0 ]; then
    say "There is no terminal to ask at. Next: sudo tconnectsync setup"
else
    say ""
    clean_up
    trap - EXIT
    exec "$command" setup "$@"
fi
