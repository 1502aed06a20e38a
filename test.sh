#!/bin/sh
# Installs tconnectsync into .venv and runs its tests, with a real MongoDB and a real Nightscout. pytest's options go through:
#     ./test.sh -k outbox          ./test.sh -m "not real"
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv=${TCONNECTSYNC_VENV:-$here/.venv}
"$here/.ci/venv" "$venv" test
cd "$here"
case " $* " in
    *"not real"*) ;;
    # Fetched ahead, because the time that a test may take is limited. Without them the tests say so, and in CI fail.
    *)
        ldconfig -p 2> /dev/null | grep -q libcurl.so.4 || .ci/need "MongoDB needs libcurl" libcurl4 || true
        command -v mosquitto > /dev/null || [ -x /usr/sbin/mosquitto ] || .ci/need "The MQTT sink is tested with a real broker" mosquitto || true
        command -v influxd > /dev/null || .ci/need "The InfluxDB sink is tested with a real InfluxDB" influxdb || true
        command -v chromium > /dev/null || command -v google-chrome > /dev/null || .ci/need "The pages are tested in a real browser" chromium || true
        [ -x /usr/sbin/nginx ] || .ci/need "The add-on's way to its page is tested with a real proxy" nginx-light || true
        "$venv/bin/python" -m tests.support.real_servers
        ;;
esac
# pytest rewrites each test's assertions; it keeps the result beside the test, which saves ten seconds of each worker's next start.
unset PYTHONDONTWRITEBYTECODE
# One worker more than there are cores, because tests also wait: for servers, killed daemons and leases. The last of two options wins,
# so that `./test.sh -n 0` runs them one after the other.
workers=$(($(getconf _NPROCESSORS_ONLN) + 1))
exec "$venv/bin/python" -m pytest --numprocesses="$workers" --dist=worksteal --durations=15 "$@"
