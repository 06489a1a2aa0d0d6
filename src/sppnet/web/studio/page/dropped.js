// What is dropped onto the page: files, and what lies in folders.

const IMAGE = /\.(jpe?g|jpe|jfif|png|webp|bmp|gif|tiff?|avif|heic|heif)$/i;
const VIDEO = /\.(mp4|mov|avi|mkv|webm|m4v)$/i;

export const isVideo = ({ name, type }) => type.startsWith("video/") || VIDEO.test(name);

export const isImage = ({ name, type }) => type.startsWith("image/") || IMAGE.test(name);

// Files that a person chose, as those are told of that were dropped.
export const chosen = (files) => [...files].map((file) => ({ path: file.name, file }));

// Returns the files that were dropped, whatever they are, and those of folders that are images, videos or labels, each
// as { path, file }. A folder that is dropped alone is a set by itself: its own name is no part of the paths. The
// browser knows of what was dropped only until the first wait.
export async function filesOf(items, isLabels) {
  const dropped = [...items]
    .filter((item) => item.kind === "file")
    .map((item) => {
      const entry = item.webkitGetAsEntry?.();
      return entry?.isDirectory ? entry : item.getAsFile();
    });
  const isKnown = ({ file }) => isImage(file) || isVideo(file) || isLabels(file);
  const start = (folder) => (dropped.length > 1 ? `${folder.name}/` : "");
  const files = await Promise.all(
    dropped.map(async (each) =>
      each.isDirectory ? (await within(each, start(each))).filter(isKnown) : chosen([each]),
    ),
  );
  return files.flat();
}

// All files below a folder, by their paths; what is hidden is left out.
async function within(folder, start) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at most
    if (!some.length) break;
    entries.push(...some.filter((entry) => !entry.name.startsWith(".")));
  }
  entries.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const files = [];
  for (const entry of entries) {
    const path = start + entry.name;
    if (entry.isDirectory) files.push(...(await within(entry, `${path}/`)));
    else files.push({ path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
  }
  return files;
}
