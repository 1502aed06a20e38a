#!/bin/sh
# Installs tconnectsync into .venv and runs the demo: a simulated pump and cloud, the real daemon and log. Options go through.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv=${TCONNECTSYNC_VENV:-$here/.venv}
"$here/.ci/venv" "$venv" web
exec "$venv/bin/tconnectsync" demo "$@"
