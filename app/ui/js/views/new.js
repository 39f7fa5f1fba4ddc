/** The form for a new job.  The server checks what is written; the form only shows its answer. */

import { post, read } from "../api.js";
import { element, partsOf, showProblem, text } from "../dom.js";

/** What opens the dialog, with a task chosen if one is named.  `onSubmitted` gets the new job. */
export function newJobDialog(dialog, onSubmitted) {
  const parts = partsOf(dialog);
  const form = dialog.querySelector("form");
  const { task, items, file, params, label } = form.elements;
  const problem = (error) => showProblem(parts.problem, error);
  let tasks = [];

  form.addEventListener("change", () => {
    const chosen = tasks.find(({ name }) => name === task.value);
    text(parts.about, chosen?.description?.split("\n\n")[0] ?? "");
    parts.drop.hidden = chosen?.file_parameter === null;
    const names = parts.drop.hidden ? [] : [...file.files].map(({ name }) => name);
    items.disabled = names.length > 0;
    const first = names.slice(0, 3).join(", ") + (names.length > 3 ? " …" : "");
    text(parts.files, names.length ? `${names.length} chosen: ${first}` : "Files");
  });
  dialog.querySelector("[value=close]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const options = { task: task.value, ...written({ label, params }) };
    parts.problem.replaceChildren();
    event.submitter.disabled = true;
    try {
      const job = await (items.disabled ? sendFiles(options, file.files) : sendItems(options, items.value.trim()));
      form.reset();
      dialog.close();
      onSubmitted(job);
    } catch (error) {
      problem(error);
    } finally {
      event.submitter.disabled = false;
    }
  });

  return async (name) => {
    parts.problem.replaceChildren();
    dialog.showModal();
    try {
      tasks = (await read("v1/tasks")).tasks;
      const before = name || task.value;
      task.replaceChildren(...tasks.map(({ name }) => element("option", name)));
      if (tasks.some(({ name }) => name === before)) task.value = before;
      form.dispatchEvent(new Event("change"));
    } catch (error) {
      problem(error);
    }
  };
}

/** What is in these fields, without the empty ones. */
function written(fields) {
  const values = Object.entries(fields).map(([name, { value }]) => [name, value.trim()]);
  return Object.fromEntries(values.filter(([, value]) => value));
}

function sendFiles(options, files) {
  const body = new FormData();
  for (const file of files) body.append("file", file);
  return post(`v1/jobs?${new URLSearchParams(options)}`, body);
}

/** A JSON array is the items, another JSON value the item; anything else is an item a line, for the server to check. */
function sendItems(options, text) {
  const value = parsed(text);
  if (value === undefined) return post(`v1/jobs?${new URLSearchParams(options)}`, text, "application/jsonl");
  const { params = "{}", ...rest } = options;
  // The text itself, not what it parses to: JavaScript would round large integers.
  const items = Array.isArray(value) ? text : `[${text}]`;
  const head = JSON.stringify(rest).slice(0, -1);
  return post("v1/jobs", `${head},"params":${params},"items":${items}}`, "application/json");
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
