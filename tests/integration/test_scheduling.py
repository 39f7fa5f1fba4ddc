"""What a job asks for, and what befell it before, decides when its items run; never whether."""

import httpx

from tests.integration.answers import document_of, ended, lines_of, submitted


def test_a_job_with_few_items_in_flight_runs_to_its_end(api: httpx.Client) -> None:
    """`max_in_flight` holds items up, but never for good."""
    job = ended(api, submitted(api, "square", list(range(200)), max_in_flight=4)["id"])

    assert (job["status"], job["counts"]["succeeded"]) == ("completed", 200)


def test_a_job_under_the_id_of_a_deleted_one_has_its_own_items(api: httpx.Client) -> None:
    """Nothing that was read ahead for the old job is left."""
    for worker in range(2):
        submitted(api, "sleep_for", [0.5], label=f"busy {worker}")
    old = {"task": "echo", "items": ["old"] * 3}
    document_of(api.put("/v1/jobs/same-name", json=old).raise_for_status())
    api.post("/v1/jobs/same-name/cancel")
    ended(api, "same-name")
    api.delete("/v1/jobs/same-name").raise_for_status()

    api.put("/v1/jobs/same-name?task=echo", content='"new"\n' * 3).raise_for_status()
    ended(api, "same-name")

    lines = lines_of(api.get("/v1/jobs/same-name/results.jsonl").content)
    assert [line["output"] for line in lines] == ["new"] * 3
