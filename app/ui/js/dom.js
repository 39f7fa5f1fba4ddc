/** Filling the page.  Invariant: what users wrote goes through `textContent` or a property, never through markup. */

/** A copy of `<template id>`: its root, and its `data-part`s by name. */
export function stamp(id) {
  return partsOf(document.getElementById(id).content.firstElementChild.cloneNode(true));
}

export function partsOf(root) {
  const parts = [...root.querySelectorAll("[data-part]")].map((node) => [node.dataset.part, node]);
  return { root, ...Object.fromEntries(parts) };
}

export function element(tag, text = "", className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

/** Write only what changed: an equal write costs a layout and takes away the reader's selection. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export function attribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** A list that keeps its rows: `make(item)` once for a key, `fill(row, item)` each time, in the order of the items. */
export function keyedList(list, keyOf, make, fill = () => {}) {
  let rows = new Map();
  return (items) => {
    const next = new Map(items.map((item) => [keyOf(item), rows.get(keyOf(item)) ?? make(item)]));
    for (const [key, row] of rows) if (!next.has(key)) row.root.remove();
    for (const item of items) fill(next.get(keyOf(item)), item);
    let place = list.firstElementChild;
    for (const { root } of next.values()) {
      if (root === place) place = place.nextElementSibling;
      else list.insertBefore(root, place);
    }
    rows = next;
  };
}

/** `draw`, at most once in `everyMs` and only while somebody looks: a hidden page gets no animation frames. */
export function paced(draw, everyMs) {
  let due = false, drawnAt = -Infinity;
  const frame = () => {
    due = false;
    drawnAt = performance.now();
    draw();
  };
  return () => {
    if (due) return;
    due = true;
    setTimeout(requestAnimationFrame, drawnAt + everyMs - performance.now(), frame);
  };
}

/** A problem for a person: its detail, then what is wrong where. */
export function showProblem(place, { title, detail, errors, errorsTotal }) {
  const lines = errors.map(({ line, pointer, parameter, detail }) => {
    const place = line === undefined ? pointer ?? parameter : `Line ${line}`;
    return element("li", place ? `${place}: ${detail}` : detail);
  });
  if (errorsTotal > errors.length) lines.push(element("li", `and ${errorsTotal - errors.length} more`));
  const box = element("div", "", "problem");
  box.append(element("b", title), element("p", detail), ...(lines.length ? [element("ul")] : []));
  box.querySelector("ul")?.append(...lines);
  place.replaceChildren(box);
}
