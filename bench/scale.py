"""How large a measurement is.  Each workload has a table of its sizes.

`full` is what `RESULTS.md` is made of; `quick` is for a look, a minute in all; `tiny` only shows that everything runs
and is checked.
"""

from typing import Literal

Scale = Literal["full", "quick", "tiny"]

WORKERS = 2
"""Of the service, and of whatever it is measured against."""
