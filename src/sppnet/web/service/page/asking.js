// Asks the service that this page came from.

/** An answer other than 200; its message is one sentence on what to do. */
export class Refused extends Error {}

/** An answer that asks for the service's key. */
export class KeyNeeded extends Refused {}

const KEY = "sppnet-key"; // as long as this tab is open

export const keepKey = (key) => sessionStorage.setItem(KEY, key);

const withKey = (headers = {}) => {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
};

export async function served() {
  return read(await fetch("/v1/model", { headers: withKey() }));
}

/** Ask for everything that a page may want to show; what is unlikely is hidden here, not there. */
export async function ask(model, image, floor, signal) {
  const query = new URLSearchParams({ model: model.name });
  if (!model.exported) {
    query.set("explain", "true");
    if (model.kind === "detector") {
      query.set("threshold", String(floor));
    }
  }
  const verb = model.kind === "detector" ? "detect" : "classify";
  const start = performance.now();
  const answer = await read(
    await fetch(`/v1/${verb}?${query}`, {
      method: "POST",
      headers: withKey({ "Content-Type": "application/octet-stream" }),
      body: image,
      signal,
    }),
  );
  return { ...answer, whole: (performance.now() - start) / 1000 };
}

async function read(response) {
  const content = await response.json().catch(() => ({}));
  if (response.status === 401) {
    throw new KeyNeeded(content.detail);
  }
  if (!response.ok) {
    throw new Refused(content.detail || `The service answered ${response.status}. Try again.`);
  }
  return content;
}
