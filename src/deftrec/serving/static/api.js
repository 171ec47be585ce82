// The service's HTTP interface, the same that programs use.

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const REMEMBERED = "deftrec-key";
let askForKey = () => Promise.reject(new Problem(401, "This service wants a key."));

/** Who is asked when the service wants a key; resolves to the key. */
export function onKeyWanted(ask) {
  askForKey = ask;
}

/** The answer to a request, as JSON. Throws `Problem`, or an AbortError when `signal` says so. */
export async function request(path, { body, signal } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(REMEMBERED);
    const answer = await send(path, body, signal, key);
    if (answer.status === 401) {
      sessionStorage.setItem(REMEMBERED, await askForKey(key !== null));
      continue;
    }
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Problem(answer.status, said(answer, found));
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

function said(answer, found) {
  if (answer.status === 503) return "The service is busy or its store is away. Try again in a moment.";
  return found.message ?? `The service answered ${answer.status}.`;
}
