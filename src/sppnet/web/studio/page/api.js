// Requests to the studio, and the events that come from it. All addresses are relative: a proxy may put it anywhere.

export class Refused extends Error {}

const SILENT = "The studio does not answer. It goes on when the studio is started again.";

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Refused(SILENT);
  }
  if (response.status === 401) location.reload();
  if (!response.ok) throw new Refused(await reasonOf(response));
  return response;
}

async function reasonOf(response) {
  const content = await response.json().catch(() => ({}));
  return content.detail ?? `This did not work (the studio answered ${response.status}). Nothing was lost: try again.`;
}

const json = async (request) => (await answered(request)).json();

export const get = (path) => json(fetch(path));

export const post = (path, content = {}) =>
  json(fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) }));

export const send = (path, file) =>
  json(fetch(path, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file }));

// A file to save, its name, and what was left out of it.
export async function download(path) {
  const response = await answered(fetch(path));
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? "export";
  return { name, content: await response.blob(), leftOut: Number(response.headers.get("X-Left-Out") ?? 0) };
}

// Calls told(name, content) for each event, and told("open") or told("lost") as the connection comes and goes.
export function listen(told) {
  const hear = ({ data: [name, text] }) => told(name, JSON.parse(text));
  const address = new URL("./listening.js", import.meta.url);
  const channel = globalThis.SharedWorker ? null : new MessageChannel();
  const port = channel ? channel.port1 : new SharedWorker(address, "sppnet studio").port;
  port.onmessage = hear;
  if (channel) new Worker(address).postMessage("listen", [channel.port2]);
  addEventListener("pagehide", () => port.postMessage("leave"));
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}
