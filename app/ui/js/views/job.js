/** One job, followed live.
 *
 * A snapshot first: the job, and of a long job the newest lines of both views.  Then the event stream from there,
 * so that opening a job of a million items costs what opening a small one costs.
 */

import { post, Problem, read, url } from "../api.js";
import { element, keyedList, paced, showProblem, stamp, text } from "../dom.js";
import { clock, count, duration, json, rate } from "../format.js";
import { fillState, isFinished, resultsOf } from "../state.js";

const ROWS_MAX = 50;
const DRAW_EVERY_MS = 250;
const RETRY_MS = 2000;
const FILE = /^sha256-[0-9a-f]{64}$/; // whatever else a task returns never becomes an address
const IMAGE = /\.(png|jpe?g|gif|webp|avif|bmp)$/i; // never SVG: it is a program
/** The counts, in the order they are shown; all but the first only when there are any. */
const COUNTS = ["succeeded", "failed", "running", "queued", "cancelled"];

export function showJob(stage, setLive, id) {
  const parts = stamp("job");
  const path = `v1/jobs/${encodeURIComponent(id)}`;
  const good = newest(parts.goodList, parts.goodNote, makeResult);
  const bad = newest(parts.badList, parts.badNote, makeFailure);
  const drawCounts = keyedList(parts.counts, (name) => name, (name) => ({ root: element("li", "", name) }),
    ({ root }, name) => text(root, `${count(job.counts[name])} ${name}`));
  const draw = paced(drawNow, DRAW_EVERY_MS);
  let job, cursor, source, timer, left = false;
  stage.replaceChildren(parts.root);
  parts.home.href = url("");
  text(parts.id, id);
  parts.cancel.addEventListener("click", cancel);
  connect();
  return () => {
    left = true;
    clearTimeout(timer);
    source?.close();
  };

  async function connect() {
    try {
      update(await read(path));
      if (cursor === undefined) await snapshot();
      if (left) return;
      if (isFinished(job) && cursor >= resultsOf(job)) return setLive("Finished"); // the stream would answer 204
      listen();
    } catch (problem) {
      if (left) return;
      if (!(problem instanceof Problem)) throw problem;
      if (problem.passes) return again();
      showProblem(parts.problem, problem);
      setLive("");
    }
  }

  /** Start a page before the end; what is older than that comes from the two views. */
  async function snapshot() {
    const { succeeded, failed } = job.counts;
    const from = Math.max(0, resultsOf(job) - ROWS_MAX);
    if (from > 0) {
      const view = (status, lines) =>
        read(`${path}/results?status=${status}&limit=${ROWS_MAX}&after=${Math.max(0, lines - ROWS_MAX)}`);
      const views = await Promise.all([view("succeeded", succeeded), view("failed", failed)]);
      for (const { results } of views) take(results);
    }
    cursor = from;
  }

  function listen() {
    const address = new URL(url(job.links.events));
    address.searchParams.set("include", "results");
    address.searchParams.set("after", cursor);
    source = new EventSource(address);
    const on = (name, handle) => source.addEventListener(name, (event) => {
      handle(JSON.parse(event.data));
      cursor = Number(event.lastEventId) || cursor;
    });
    source.onopen = () => setLive("Live");
    source.onerror = () => source.readyState === EventSource.CLOSED ? again() : setLive("Reconnecting");
    on("job", update);
    on("progress", (change) => update({ ...job, ...change }));
    on("results", ({ results }) => take(results));
    on("end", (final) => {
      source.close();
      setLive("Finished");
      update(final);
    });
  }

  /** The browser retries a broken stream by itself, but gives up for good on an answer that is no stream. */
  function again() {
    setLive("Reconnecting");
    timer = setTimeout(connect, RETRY_MS);
  }

  /** A finished job never changes; what says otherwise was overtaken, as the answer to Cancel may be by the stream. */
  function update(next) {
    if (job && isFinished(job) && !isFinished(next)) return;
    if (next.error && !job?.error) showProblem(parts.problem, new Problem(next.error));
    job = next;
    draw();
  }

  function take(lines) {
    good.take(lines.filter((line) => !line.error));
    bad.take(lines.filter((line) => line.error));
    draw();
  }

  async function cancel() {
    parts.cancel.disabled = true;
    await post(job.links.cancel).then(update, (problem) => showProblem(parts.problem, problem));
    draw();
  }

  function drawNow() {
    if (left) return;
    drawHead(parts, job);
    drawCounts(COUNTS.filter((name, place) => place === 0 || job.counts[name] > 0));
    good.draw(job.counts.succeeded, isFinished(job));
    bad.draw(job.counts.failed, isFinished(job));
  }
}

function drawHead(parts, job) {
  const over = isFinished(job);
  parts.body.hidden = false;
  fillState(parts, job);
  document.title = `${over ? parts.word.textContent : parts.percent.textContent} · ${job.task} – Millpond`;
  text(parts.by, `submitted ${job.submitted_by ? `by ${job.submitted_by} ` : ""}at ${clock(job.created_at)}`);
  text(parts.took, over ? `ended at ${clock(job.ended_at)}` : "");
  text(parts.params, Object.keys(job.params ?? {}).length ? json(job.params, 120) : "");
  text(parts.rate, job.items_per_second ? `${rate(job.items_per_second)} items/s` : "");
  parts.results.href = url(job.links.results);
  parts.failures.href = url(job.links.failures);
  parts.results.hidden = false;
  parts.failures.hidden = parts.badCard.hidden = !job.counts.failed;
  parts.cancel.hidden = over;
  parts.cancel.disabled = job.status === "cancelling";
}

/** The newest lines of one kind, newest first, never more than a page of them, and a note that says so. */
function newest(list, note, make) {
  const drawRows = keyedList(list, (line) => line.index, make);
  let lines = [];
  return {
    take(more) {
      const known = new Set(lines.map(({ index }) => index)); // the snapshot and the stream overlap
      const fresh = more.slice(-ROWS_MAX).filter(({ index }) => !known.has(index));
      lines = [...fresh.reverse(), ...lines].slice(0, ROWS_MAX);
    },
    draw(total, over) {
      drawRows(lines);
      const all = Math.max(total, lines.length);
      const whole = all ? `${count(all)}, newest first` : over ? "None" : "None yet";
      text(note, lines.length < all ? `Showing the newest ${lines.length} of ${count(all)}` : whole);
    },
  };
}

function makeResult(line) {
  const { output } = line;
  const name = line.key ?? `#${count(line.index)}`;
  const took = line.duration_ms ? duration(line.duration_ms / 1000) : "";
  const root = element("li");
  if (!FILE.test(output?.file)) {
    root.append(element("code", name), element("code", json(output), "output"), element("small", took));
    return { root };
  }
  const link = Object.assign(element("a"), { href: url(`v1/files/${output.file}`), target: "_blank" });
  const title = output.name ?? output.file;
  if (IMAGE.test(title)) {
    root.className = "tile";
    link.append(Object.assign(element("img"), { loading: "lazy", decoding: "async", alt: title, src: link.href }));
    root.append(link, element("code", name), element("small", title));
  } else {
    link.textContent = title;
    root.append(element("code", name), link, element("small", took));
  }
  return { root };
}

function makeFailure({ index, key, error, attempts }) {
  const parts = stamp("failure");
  text(parts.index, key ?? `#${count(index)}`);
  text(parts.type, error.type ?? error.kind);
  text(parts.message, error.message ?? "");
  text(parts.kind, attempts ? `${error.kind}, ${attempts} attempts` : error.kind);
  text(parts.traceback, error.traceback ?? "No traceback: the task's code did not get to raise anything.");
  return parts;
}
