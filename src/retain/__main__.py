"""`python -m retain` is `retain`."""

import sys

from retain.cli import main

sys.exit(main())
