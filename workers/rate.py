"""How often items of a task may start, as people write it: `10/s`, `100/m`, `5000/h`."""

import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_FORM = re.compile(r"([1-9][0-9]{0,8})/([smh])", re.ASCII)


def starts_per_second(rate_limit: str) -> float:
    """The rate in starts a second.  ValueError if it is not one."""
    found = _FORM.fullmatch(rate_limit)
    if found is None:
        raise ValueError('give a whole number above 0 and a unit of time, as in "10/s", "100/m" or "5000/h"')
    return int(found[1]) / _SECONDS[found[2]]
