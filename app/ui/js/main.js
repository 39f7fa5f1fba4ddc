/** The page's frame: which view an address shows, the rail, and the way to a new job. */

import { read, url } from "./api.js";
import { element } from "./dom.js";
import { enter } from "./views/enter.js";
import { showJob } from "./views/job.js";
import { showJobs } from "./views/jobs.js";
import { newJobDialog } from "./views/new.js";

/** A view fills the stage and returns what ends it; its arguments are the groups of its pattern. */
const ROUTES = [[/^$/, showJobs], [/^jobs\/([^/]+)$/, showJob]];

const stage = document.getElementById("stage");
const live = document.getElementById("live");
const openNewJob = newJobDialog(document.getElementById("new"), (job) => go(url(`jobs/${encodeURIComponent(job.id)}`)));
let leave = () => {};

function show() {
  leave();
  const path = location.href.split(/[?#]/)[0].slice(url("").length);
  const [pattern, view] = ROUTES.find(([pattern]) => pattern.test(path)) ?? ROUTES[0];
  leave = view(stage, setLive, ...(pattern.exec(path) ?? []).slice(1).map(decodeURIComponent));
  for (const link of document.querySelectorAll(".rail .item[data-nav]")) {
    link.ariaCurrent = view === showJobs ? "page" : null;
  }
}

function go(address) {
  history.pushState(null, "", address);
  show();
  scrollTo(0, 0);
  stage.focus(); // the keyboard goes on from here, not from a link that is gone
}

/** "Live", "Reconnecting", or "Finished": nothing more will come. */
function setLive(word) {
  if (live.textContent === word) return;
  live.textContent = live.dataset.state = word;
}

async function showTasks() {
  const { tasks } = await read("v1/tasks");
  document.getElementById("tasks").replaceChildren(...tasks.map(({ name }) => {
    const item = element("li");
    const button = Object.assign(element("button", name, "item"), { type: "button", title: `New job: ${name}` });
    button.dataset.new = name;
    item.append(button);
    return item;
  }));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-nav]");
  const opener = event.target.closest("[data-new]");
  if (opener) openNewJob(opener.dataset.new);
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return; // the browser's own: new tab, new window
  event.preventDefault();
  go(link.href);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "n" || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  event.preventDefault();
  openNewJob("");
});

for (const link of document.querySelectorAll(".rail a[data-nav]")) link.href = url("");
enter(document.getElementById("enter"), () => {
  addEventListener("popstate", show);
  show();
  showTasks().catch(() => {}); // the rail can do without; the form says what is wrong
});
