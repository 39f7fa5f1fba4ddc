"""Nearly every payload stands in a file, as if it were large: `HARM=tests.harm.payloads python -m tests.harm`."""

from app.stores.payloads import Payloads

INLINE_BYTES_MAX = 300


def _inline(_: Payloads, text: bytes) -> bool:
    return len(text) <= INLINE_BYTES_MAX


setattr(Payloads, "inline", _inline)  # noqa: B010
