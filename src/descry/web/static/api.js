// Talking to the server this page came from, and to nobody else.

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || "It could not be done.");
    this.status = status;
    this.code = body.code || "failed";
  }
}

const listeners = { login: () => Promise.reject(), gone: () => {}, back: () => {} };

/** What to do when a token is needed (a promise of a retry), when the server is gone, and when it is back. */
export function listen(which) {
  Object.assign(listeners, which);
}

let away = false;

async function send(path, options) {
  try {
    const answer = await fetch(path, { credentials: "same-origin", ...options });
    if (away) {
      away = false;
      listeners.back();
    }
    return answer;
  } catch {
    away = true;
    listeners.gone();
    throw new Problem(0, { code: "server_gone", detail: "The server does not answer." });
  }
}

/** One call under /api/v1; JSON in, JSON out. Throws Problem. Waits for a login where a token is needed. */
export async function call(method, path, body, headers = {}) {
  const form = body instanceof FormData;
  const options = { method, headers: { ...headers } };
  if (body !== undefined) {
    options.body = form ? body : JSON.stringify(body);
    if (!form) options.headers["Content-Type"] = "application/json";
  }
  const answer = await send(`/api/v1${path}`, options);
  if (answer.status === 401 && path !== "/login") {
    await listeners.login();
    return call(method, path, body, headers);
  }
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, said);
  return said;
}

/** Wait until the server answers again. */
export async function alive() {
  for (;;) {
    await new Promise((done) => setTimeout(done, 2000));
    try {
      if ((await fetch("/healthz")).ok) {
        away = false;
        return listeners.back();
      }
    } catch {
      continue;
    }
  }
}

export async function upload(blob) {
  const form = new FormData();
  form.append("file", blob, "picture");
  return call("POST", "/assets", form);
}
