"""What is left of the jobs that were made up."""

from bench.server import Server
from tests.waiting import eventually

ENDED_SECONDS_MAX = 20


def none_is_stuck(server: Server) -> None:
    """Each job that has not finished can be cancelled, and then ends; every worker is there and idle again."""
    with server.client() as api:
        for status in ("queued", "running", "cancelling"):
            for job in api.get("/v1/jobs", params={"status": status, "limit": 1000}).json()["jobs"]:
                api.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()

        def all_ended() -> bool:
            pages = [
                api.get("/v1/jobs", params={"status": status}).json()["jobs"]
                for status in ("queued", "running", "cancelling")
            ]
            return not any(pages)

        def all_idle() -> bool:
            pool = api.get("/v1/pool").json()["pools"]["cpu"]
            states = [worker["state"] for worker in pool["workers"]]
            return len(states) == pool["processes"] and set(states) == {"idle"}

        eventually(all_ended, ENDED_SECONDS_MAX, "every job has ended")
        eventually(all_idle, ENDED_SECONDS_MAX, "every worker is idle")
