// Requests to the studio, and the events that come from it.

export class Refused extends Error {}

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Refused("The studio does not answer.");
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(content.detail ?? `The studio answered ${response.status}.`);
  return content;
}

export const get = (path) => answered(fetch(path));

export const post = (path, content = {}) =>
  answered(fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) }));

// Calls told(name, content) for each event, and told("open") or told("lost") as the connection comes and goes.
export function listen(names, told) {
  const source = new EventSource("/api/events");
  source.addEventListener("hello", () => told("open"));
  for (const name of names) source.addEventListener(name, (event) => told(name, JSON.parse(event.data)));
  source.addEventListener("error", () => {
    told("lost");
    if (source.readyState === EventSource.CLOSED) {
      source.close();
      setTimeout(() => listen(names, told), 1000);
    }
  });
}
