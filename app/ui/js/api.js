/** The public HTTP API, as this page uses it.  Invariant: whatever goes wrong is thrown as a `Problem`. */

/** The service's own root: two levels above this file, so the page also works under a path prefix. */
const ROOT = new URL("../../", import.meta.url);
const READ_TIMEOUT_MS = 15_000;

export const url = (path) => new URL(path, ROOT).href;

/** A problem document (RFC 9457); a `status` under 400 means that no whole answer came. */
export class Problem extends Error {
  constructor({ status = 0, title = "Something went wrong", detail = "", errors = [], errors_total = errors.length }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, errors, errorsTotal: errors_total });
  }

  /** Asking again may help: no answer, a restart, a limit.  Anything else stays as it is. */
  get passes() {
    return this.status < 400 || this.status === 429 || this.status >= 500;
  }
}

export const read = (path) => call(path, { cache: "no-cache", signal: AbortSignal.timeout(READ_TIMEOUT_MS) });

/** No time limit: an upload takes as long as it takes, and the server limits its size. */
export const post = (path, body, type) =>
  call(path, { method: "POST", body, headers: type ? { "Content-Type": type } : {} });

async function call(path, init) {
  const response = await fetch(url(path), init).catch(() => {
    throw new Problem({ title: "No answer", detail: "The server cannot be reached." });
  });
  // A proxy between us and the server may answer in HTML.
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  throw new Problem({ title: response.statusText, ...body, status: response.status });
}
