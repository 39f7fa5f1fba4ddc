"""`python -m app`: serve."""

import os
import sys


def main() -> int:
    """Serve until told to stop; 2 if the settings are not right, 3 if the tasks cannot be loaded."""
    import logging

    from pydantic import ValidationError

    from app.domain.errors import ServiceError
    from app.main import serve
    from app.settings import Settings, unknown_variables
    from workers.forker import PoolError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    if unknown := unknown_variables(os.environ):
        sys.stderr.write("\n".join(unknown) + "\n")
        return 2
    try:
        serve(Settings())
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            name = "_".join(("MILLPOND", *(str(part).upper() for part in fault["loc"][:1])))
            sys.stderr.write(f"{name}: {fault['msg'].removeprefix('Value error, ')}\n")
        return 2
    except ServiceError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    except PoolError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
