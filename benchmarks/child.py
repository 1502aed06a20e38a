"""``child.py REPORT MODULE_OR_SCRIPT ARGUMENTS...``: runs it as ``python -m`` would, and reports what the process used up."""

from __future__ import annotations

import atexit
import os
import runpy
import sys

_report = sys.argv[1]


def _fields(path: str) -> dict[str, str]:
    with open(path) as lines:
        return {name: value for name, _, value in (line.partition(":") for line in lines)}


@atexit.register
def _tell() -> None:
    used = os.times()
    peak_kb = int(_fields("/proc/self/status")["VmHWM"].split()[0])
    written = int(_fields("/proc/self/io")["write_bytes"])
    with open(_report, "w") as report:
        report.write(
            f'{{"cpu_s": {used.user + used.system}, "peak_mb": {peak_kb / 1024}, "written_mb": {written / 1024 / 1024}}}'
        )


sys.argv = sys.argv[2:]
if sys.argv[0].endswith(".py"):
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    del sys.path[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
