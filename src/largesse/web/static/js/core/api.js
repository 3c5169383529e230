/**
 * Calls of our own API with the page's session.
 *
 *     const {balance} = await post(`/v1/rooms/${id}/gifts`, {item_id, quantity}, {key: newKey()});
 *
 * What is refused is thrown as a `Refusal`, whose `code` programs hold on to.
 */

const TRIES = 3;
const PAUSE_MILLISECONDS = 400;
const PASSING = new Set([502, 503, 504]);

/** Refused, in words (`message`), by `code`, with the facts of the refusal as further properties. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || problem.code);
    const {type, title, detail, ...facts} = problem;
    Object.assign(this, {status, detail: this.message}, facts);
    this.name = "Refusal";
  }
}

export const get = (path, options) => call("GET", path, undefined, options);
export const del = (path, options) => call("DELETE", path, undefined, options);

/** Send a body. With a `key` it is tried again where no answer came, for then it happens once. */
export const post = (path, body, options) => call("POST", path, body, options);

async function call(method, path, body, {key, signal} = {}) {
  const headers = {accept: "application/json"};
  const init = {method, headers, signal, credentials: "same-origin"};
  if (method !== "GET") headers["x-csrf-token"] = csrf();
  if (key) headers["idempotency-key"] = key;
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  const answer = await answered(path, init, method === "GET" || key ? TRIES : 1);
  const told = await read(answer);
  if (answer.ok) return told;
  throw new Refusal(answer.status, {code: "unknown", ...told});
}

async function answered(path, init, tries) {
  for (let tried = 1; ; tried += 1) {
    try {
      const answer = await fetch(path, init);
      if (tried >= tries || !PASSING.has(answer.status)) return answer;
    } catch (error) {
      if (error.name === "AbortError") throw error;
      if (tried >= tries) throw new Refusal(0, {code: "no_answer", detail: error.message});
    }
    await new Promise((resume) => setTimeout(resume, PAUSE_MILLISECONDS * tried));
  }
}

async function read(answer) {
  const isJson = answer.headers.get("content-type")?.includes("json");
  return isJson ? await answer.json().catch(() => ({})) : null;
}

function csrf() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}
