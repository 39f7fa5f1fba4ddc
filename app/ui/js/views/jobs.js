/** Every job, newest first; asked for again every two seconds while somebody looks. */

import { read, url } from "../api.js";
import { attribute, keyedList, showProblem, stamp, text } from "../dom.js";
import { ago, clock, count, rate } from "../format.js";
import { fillState } from "../state.js";

const EVERY_MS = 2000;
const JOBS_MAX = 50;

export function showJobs(stage, setLive) {
  const parts = stamp("jobs");
  const draw = keyedList(parts.list, (job) => job.id, makeRow, fillRow);
  const ended = new AbortController();
  let timer;
  stage.replaceChildren(parts.root);
  document.title = "Jobs – Millpond";

  async function refresh() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const { jobs, next_cursor } = await read(`v1/jobs?limit=${JOBS_MAX}`);
      if (ended.signal.aborted) return;
      draw(jobs);
      text(parts.note, note(jobs, next_cursor));
      setLive("Live");
    } catch (problem) {
      if (ended.signal.aborted) return;
      if (!problem.passes) showProblem(parts.note, problem);
      setLive("Reconnecting");
    }
    timer = setTimeout(refresh, EVERY_MS);
  }

  document.addEventListener("visibilitychange", refresh, { signal: ended.signal });
  refresh();
  return () => {
    clearTimeout(timer);
    ended.abort();
  };
}

function note(jobs, nextCursor) {
  if (!jobs.length) return "No jobs yet. Press n for a new one, or submit one with curl.";
  return nextCursor ? `Showing the newest ${jobs.length} jobs` : "";
}

function makeRow(job) {
  const parts = stamp("job-row");
  parts.link.href = url(`jobs/${encodeURIComponent(job.id)}`);
  parts.submitted.dateTime = job.created_at;
  parts.submitted.title = `${new Date(job.created_at).toDateString()}, ${clock(job.created_at)}`;
  return parts;
}

function fillRow(parts, job) {
  fillState(parts, job);
  const { failed, total, succeeded } = job.counts;
  text(parts.failed, failed ? `${count(failed)} failed` : "");
  parts.percent.hidden = failed > 0 || succeeded === total || succeeded === 0;
  text(parts.rate, job.items_per_second ? rate(job.items_per_second) : "");
  attribute(parts.rate, "aria-label", job.items_per_second ? `${rate(job.items_per_second)} items per second` : "");
  text(parts.submitted, ago(job.created_at, Date.now()));
}
