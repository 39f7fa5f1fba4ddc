/** The way in, where the service has keys.  The key is sent once, for a cookie that no script can read. */

import { post, read } from "../api.js";
import { showProblem } from "../dom.js";

/** `begin` once somebody is in: at once where nobody needs a key, or a session goes on. */
export async function enter(dialog, begin) {
  const form = dialog.querySelector("form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = form.elements.key.value.trim();
    try {
      await post("v1/session", JSON.stringify({ key }), "application/json");
      form.reset();
      dialog.close();
      begin();
    } catch (problem) {
      showProblem(dialog.querySelector("[role=alert]"), problem);
    }
  });
  dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it
  const problem = await read("v1/session").then(() => null, (problem) => problem);
  if (problem?.status === 401) dialog.showModal();
  else begin(); // what else may be wrong, the views tell, and try again
}
