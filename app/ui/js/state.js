/** How a job looks, wherever it is shown.  A state is an icon, a colour and a word. */

import { attribute, text } from "./dom.js";
import { count, duration, percent } from "./format.js";

const LOOKS = {
  queued: ["waiting", "quiet", "Queued"],
  running: ["running", "run", "Running"],
  paused: ["paused", "warn", "Paused"],
  cancelling: ["running", "warn", "Cancelling"],
  completed: ["done", "ok", "Completed"],
  failed: ["failed", "fail", "Failed"],
  cancelled: ["cancelled", "quiet", "Cancelled"],
  expired: ["expired", "fail", "Expired"],
};
const PARTLY = ["partly", "warn", "Completed"];
/** A failure is never invisible: a millionth of the items is still this much of the bar. */
const FAILED_SHARE_MIN = 0.008;

export const isFinished = (job) => ["completed", "failed", "cancelled", "expired"].includes(job.status);
export const resultsOf = ({ counts }) => counts.succeeded + counts.failed;

/** Fill what every view of a job has: icon, word, task, label, bar, n of N, percent, time. */
export function fillState(parts, job) {
  const partly = job.status === "completed" && job.counts.failed > 0;
  const [icon, tone, word] = partly ? PARTLY : (LOOKS[job.status] ?? ["waiting", "quiet", job.status]);
  attribute(parts.root, "data-tone", tone);
  attribute(parts.icon, "data-icon", icon);
  attribute(parts.icon.firstElementChild, "href", `#i-${icon}`);
  text(parts.word, word);
  text(parts.task, job.task);
  text(parts.label, job.label ?? "");
  text(parts.id, job.id);
  text(parts.items, items(job));
  text(parts.percent, percent(doneShare(job)));
  text(parts.time, time(job));
  fillBar(parts.bar, job);
}

/** Both layers are as wide as the bar and only slide: nothing is laid out again, and the hatching keeps its shape. */
function fillBar(bar, job) {
  const { total, failed } = job.counts;
  const done = doneShare(job);
  const bad = failed ? Math.max(failed / total, FAILED_SHARE_MIN) : 0;
  const end = Math.max(done, bad);
  attribute(bar, "aria-valuenow", Math.floor(done * 100));
  attribute(bar, "aria-valuetext", `${percent(done)}${failed ? `, ${count(failed)} failed` : ""}`);
  const [badLayer, goodLayer] = bar.children;
  badLayer.style.transform = `translateX(${(end - 1) * 100}%)`;
  goodLayer.style.transform = `translateX(${(end - bad - 1) * 100}%)`;
}

function doneShare(job) {
  const { total } = job.counts;
  return total ? resultsOf(job) / total : Number(isFinished(job));
}

function items(job) {
  const { total } = job.counts;
  const noun = total === 1 ? "item" : "items";
  if (job.status === "queued" && job.queue_position) return `${count(total)} ${noun} · position ${job.queue_position}`;
  return resultsOf(job) === total ? `${count(total)} ${noun}` : `${count(resultsOf(job))} of ${count(total)} ${noun}`;
}

function time(job) {
  const began = new Date(job.started_at ?? job.created_at);
  if (isFinished(job)) return `took ${duration((new Date(job.ended_at) - began) / 1000)}`;
  if (job.status === "queued") return "waiting";
  return typeof job.eta_seconds === "number" ? `${duration(Math.ceil(job.eta_seconds))} left` : "";
}
