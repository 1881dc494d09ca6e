// Requests to the desk. Changes carry the session's token; errors are the server's own sentences.

let csrf = "";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function get(path) {
  return answer(await fetch(path, { headers: { accept: "application/json" } }));
}

export async function post(path, document = {}) {
  return answer(
    await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": csrf },
      body: JSON.stringify(document),
    }),
  );
}

export async function me() {
  const person = await get("/api/me");
  csrf = person.csrf;
  return person;
}

async function answer(response) {
  const document = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, document.detail || response.statusText);
  return document;
}
