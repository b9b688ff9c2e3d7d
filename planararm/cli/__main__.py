"""``python -m planararm.cli``."""

import sys

from . import main

sys.exit(main())
