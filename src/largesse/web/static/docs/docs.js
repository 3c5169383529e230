// The API document, readable and tried out. The token stays in this tab.

const TOKEN = "largesse-token";
const WHO = "largesse-who";
const NEEDS_KEY = /\/v1\/(orders|rooms\/[^/]+\/gifts)$/;

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

const byId = (id) => document.getElementById(id);
const form = byId("log-in");

let ui;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = Object.fromEntries(new FormData(form));
  const answer = await send("POST", "/v1/sessions", fields);
  if (answer) {
    form.reset();
    enter(answer.token, answer.user.login);
  }
});

byId("log-out").addEventListener("click", async () => {
  await send("DELETE", "/v1/sessions/current", null, sessionStorage.getItem(TOKEN));
  sessionStorage.clear();
  ui?.authActions.logout(["session"]);
  show(null);
});

form.querySelector("button").disabled = false;
const api = await send("GET", "/v1/openapi.json");
if (api) {
  ui = window.SwaggerUIBundle({
    spec: withoutKeys(api),
    dom_id: "#api",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    validatorUrl: null,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    requestInterceptor: withKey,
    onComplete: () => {
      const token = sessionStorage.getItem(TOKEN);
      if (token) enter(token, sessionStorage.getItem(WHO));
    },
  });
}

// Here a key may be left empty, because the page makes one.
function withoutKeys(api) {
  for (const operation of Object.values(api.paths).flatMap(Object.values)) {
    for (const parameter of operation.parameters ?? []) {
      if (parameter.name === "Idempotency-Key") parameter.required = false;
    }
  }
  return api;
}

// A new key for each press, unless one was filled in.
function withKey(request) {
  const path = new URL(request.url, location.href).pathname;
  const names = Object.keys(request.headers).map((name) => name.toLowerCase());
  if (request.method === "POST" && NEEDS_KEY.test(path) && !names.includes("idempotency-key")) {
    request.headers["Idempotency-Key"] = uuid7();
  }
  return request;
}

function uuid7() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  for (let n = 5; n >= 0; n -= 1) {
    bytes[n] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function send(method, path, body, token) {
  tell("");
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  try {
    const response = await fetch(path, { method, headers, body: body ? JSON.stringify(body) : undefined });
    const answer = response.status === 204 ? {} : await response.json();
    if (response.ok) return answer;
    tell(answer.detail);
  } catch {
    tell("The server does not answer.");
  }
  return null;
}

function enter(token, who) {
  sessionStorage.setItem(TOKEN, token);
  sessionStorage.setItem(WHO, who);
  ui?.preauthorizeApiKey("session", token);
  show(who);
}

function show(who) {
  byId("who").textContent = who ?? "";
  byId("logged-in").hidden = !who;
  form.hidden = Boolean(who);
}

function tell(problem) {
  byId("problem").textContent = problem;
  byId("problem").hidden = !problem;
}
