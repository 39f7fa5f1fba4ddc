"""`python -m app`: serve."""

import sys


def main() -> int:
    """Serve until told to stop; 2 if the settings or the tasks are not right."""
    import logging

    from pydantic import ValidationError

    from app.domain.errors import ServiceError
    from app.main import serve
    from app.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
