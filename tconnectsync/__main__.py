"""``python -m tconnectsync``."""

from tconnectsync.cli import main

raise SystemExit(main())
