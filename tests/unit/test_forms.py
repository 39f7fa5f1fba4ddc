"""What is kept of a form, to know it again."""

import msgspec
import pytest

from app.api.multipart import Form, UploadedFile
from app.api.submit import FILES_AT_ONCE, told_of


@pytest.mark.parametrize("number", [0, 1, FILES_AT_ONCE, FILES_AT_ONCE + 1, 3 * FILES_AT_ONCE - 1])
def test_a_form_is_known_again_by_its_fields_and_files(number: int) -> None:
    """Told in pieces of so many files, and the same however they are cut: it stands in stored jobs."""
    files = [
        UploadedFile(f"sha256-{n:064x}", f"{n}.jpg" if n % 3 else None, "image/jpeg", n)
        for n in range(number)
    ]
    form = Form({"task": "resize_image", "param.width": "8"}, files)
    pieces = list(told_of(form))

    assert b"".join(pieces) == msgspec.json.encode([form.fields, [(file.id, file.name) for file in files]])
    assert len(pieces) == 2 + -(-number // FILES_AT_ONCE)
