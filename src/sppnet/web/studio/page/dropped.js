// What is dropped onto the page: files, and what lies in folders.

const IMAGE = /\.(jpe?g|jpe|jfif|png|webp|bmp|gif|tiff?|avif|heic|heif)$/i;
const VIDEO = /\.(mp4|mov|avi|mkv|webm|m4v)$/i;

export const isVideo = ({ name, type }) => type.startsWith("video/") || VIDEO.test(name);

const isImage = ({ name, type }) => type.startsWith("image/") || IMAGE.test(name);

// Returns the files that were dropped, whatever they are, and those of folders that are images, videos or labels. The
// browser knows of what was dropped only until the first wait.
export async function filesOf(items, isLabels) {
  const dropped = [...items]
    .filter((item) => item.kind === "file")
    .map((item) => {
      const entry = item.webkitGetAsEntry?.();
      return entry?.isDirectory ? entry : item.getAsFile();
    });
  const isKnown = (file) => isImage(file) || isVideo(file) || isLabels(file);
  const files = await Promise.all(
    dropped.map(async (each) => (each.isDirectory ? (await within(each)).filter(isKnown) : [each])),
  );
  return files.flat();
}

// All files below a folder, by their paths; what is hidden is left out.
async function within(folder) {
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
    if (entry.isDirectory) files.push(...(await within(entry)));
    else files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
  }
  return files;
}
