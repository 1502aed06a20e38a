"""Builds in a folder of its own, so that `pip install .` never packs what an earlier build left in `build/`."""

from __future__ import annotations

import tempfile

from setuptools import setup
from setuptools.command.build import build

_FOLDER = tempfile.TemporaryDirectory(prefix="tconnectsync-build-")  # removed when the build's process ends


class FreshBuild(build):
    """Without this, a module that was deleted from the source comes back from the last build's copy."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.build_base = _FOLDER.name


setup(cmdclass={"build": FreshBuild})
