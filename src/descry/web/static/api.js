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
      // not yet
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

// ---------------------------------------------------------------- pictures before they are sent

const MOST_SIDE = 1600;
const MOST_BYTES = 2_000_000;
const LOOK = 64;

/** {blob, kind}: a picture of at most 1,600 pixels along an edge, and "sketch" where it is mostly white without colour,
 * else "photo". What the browser cannot read is sent as it is: the server says what is wrong with it. */
export async function prepared(file) {
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return { blob: file, kind: "sketch" };
  const kind = isSketch(picture) ? "sketch" : "photo";
  const by = Math.min(1, MOST_SIDE / Math.max(picture.width, picture.height));
  if (by === 1 && file.size <= MOST_BYTES) return { blob: file, kind };
  const canvas = drawn(picture, Math.max(1, Math.round(picture.width * by)), Math.max(1, Math.round(picture.height * by)));
  const blob = await new Promise((done) => canvas.toBlob(done, kind === "sketch" ? "image/png" : "image/jpeg", 0.92));
  return { blob: blob ?? file, kind };
}

function drawn(picture, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  return canvas;
}

function isSketch(picture) {
  const { data } = drawn(picture, LOOK, LOOK).getContext("2d").getImageData(0, 0, LOOK, LOOK);
  let [white, coloured] = [0, 0];
  for (let i = 0; i < data.length; i += 4) {
    const [low, high] = [Math.min(data[i], data[i + 1], data[i + 2]), Math.max(data[i], data[i + 1], data[i + 2])];
    if (low > 215) white += 1;
    if (high - low > 40) coloured += 1;
  }
  const all = LOOK * LOOK;
  return white > 0.4 * all && coloured < 0.1 * all;
}
