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
  const answer = await asked(method, path, body, headers);
  return answer.status === 204 ? null : answer.json().catch(() => ({}));
}

/** The same where the answer is a file: {blob, head}, the head being that of the account after it was made. */
export async function file(method, path, body) {
  const answer = await asked(method, path, body, {});
  return { blob: await answer.blob(), head: answer.headers.get("X-Account-Head") };
}

async function asked(method, path, body, headers) {
  const form = body instanceof FormData;
  const options = { method, headers: { ...headers } };
  if (body !== undefined) {
    options.body = form ? body : JSON.stringify(body);
    if (!form) options.headers["Content-Type"] = "application/json";
  }
  const answer = await send(`/api/v1${path}`, options);
  if (answer.status === 401 && path !== "/login") {
    await listeners.login();
    return asked(method, path, body, headers);
  }
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => ({})));
  return answer;
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

/** Follow the events of a path until the function that this returns is called. lost(): the stream broke; it is opened again. */
export function follow(path, name, told, lost) {
  let source = null;
  let over = false;
  const open = () => {
    if (over) return;
    source = new EventSource(`/api/v1${path}`);
    source.addEventListener(name, (event) => told(JSON.parse(event.data)));
    source.onerror = async () => {
      source.close();
      await new Promise((done) => setTimeout(done, 2000));
      if (!over) await lost();
      open();
    };
  };
  open();
  return () => {
    over = true;
    source.close();
  };
}
