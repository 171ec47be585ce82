// Client of the service's HTTP interface.

export class Problem extends Error {
  constructor(status, message, code = "") {
    super(message);
    Object.assign(this, { status, code });
  }
}

const REMEMBERED = "deftrec-key";
let askForKey = () => Promise.reject(new Problem(401, "This service requires an API key."));

/** Set the function that asks for an API key; it resolves to the key. */
export function onKeyRequired(ask) {
  askForKey = ask;
}

/** Send a request and return the JSON of the response. Throws a `Problem`, or an AbortError if `signal` aborts. */
export async function request(path, { body, signal } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(REMEMBERED);
    const answer = await send(path, body, signal, key);
    if (answer.status === 401) {
      sessionStorage.setItem(REMEMBERED, await askForKey(key !== null));
      continue;
    }
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Problem(answer.status, message(answer, found), found.code);
    return found;
  }
}

async function send(path, body, signal, key) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  const method = body === undefined ? "GET" : "POST";
  try {
    return await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service does not answer. Is it still running?");
  }
}

function message(answer, found) {
  if (answer.status === 503) return "The service is busy or its event store is unavailable. Try again in a moment.";
  return found.message ?? `The service answered ${answer.status}.`;
}
