// What must survive a closed tab or a stopped server: strokes, unsent words, pictures. Kept by the browser, for this page alone.

let opened = null;

function base() {
  opened ??= new Promise((done, fail) => {
    const asked = indexedDB.open("descry", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("kept");
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });
  return opened;
}

async function within(mode, work) {
  const store = (await base()).transaction("kept", mode).objectStore("kept");
  const asked = work(store);
  return new Promise((done, fail) => {
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });
}

/** What was kept under a name; undefined where nothing was, or where the browser keeps nothing. */
export async function recall(name) {
  return within("readonly", (store) => store.get(name)).catch(() => undefined);
}

export async function keep(name, value) {
  return within("readwrite", (store) => store.put(value, name)).catch(() => undefined);
}

export async function forget(name) {
  return within("readwrite", (store) => store.delete(name)).catch(() => undefined);
}

/** Forget what was kept of these pictures: strokes and files, by their assets; and every tab's draft, which may hold them. */
export async function forgetAll(assets) {
  await forget(IDBKeyRange.bound("draft", "draft\uffff"));
  await Promise.all(assets.flatMap((asset) => [forget(`strokes ${asset}`), forget(`picture ${asset}`)]));
}

/** A small setting. */
export function setting(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(`descry.${name}`, JSON.stringify(value));
    return JSON.parse(localStorage.getItem(`descry.${name}`));
  } catch {
    return null;
  }
}
