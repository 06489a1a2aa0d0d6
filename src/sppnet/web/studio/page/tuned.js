// What is said of the tuning of the network, and which of its buttons there are.

// How long something takes, as a person would say it.
export function duration(seconds) {
  if (seconds < 60) return "less than a minute";
  const minutes = Math.round(seconds / 60);
  return `about ${minutes} ${minutes === 1 ? "minute" : "minutes"}`;
}

const WHAT = (minutes) =>
  `The network that looks at your images learnt from everyday photographs. Tuning has it learn from yours too: from all complete images, in the background, in about ${minutes} minutes and some before and after them. It is used only if more is found in images that were held back.`;

const RUNS = (minutes) =>
  `Go on labelling meanwhile: it takes about ${minutes} minutes and some before and after them. The tuned network is used only if more is found in images that were held back.`;

const WAITS =
  "A tuning was interrupted. It goes on from where it was, with the labels that it began with; begun anew, with those of now.";

const IN_USE = "The tuned network is in use. Tuned again, with more labels, it starts from this one.";

// `images` is how many are complete and hold objects.
export function tuningWords({ state, text, done, of, seconds, report, fewest, minutes }, images) {
  const running = state === "running";
  const stopped = state === "stopped";
  const enough = images >= fewest;
  const left = seconds === null ? "" : `; ${duration(seconds)} left`;
  const missing = `For this ${fewest} images with objects must be complete: ${images} ${images === 1 ? "is" : "are"}.`;
  const about = running ? RUNS(minutes) : stopped ? WAITS : report ? IN_USE : WHAT(minutes);
  const name = stopped ? "Begin anew" : report ? "Tune it again" : "Tune the network";
  return {
    about: running || enough ? about : `${about} ${missing}`,
    report: report ?? "",
    now: running ? `${text}${left}` : "",
    share: running && of ? done / of : null, // null where nobody knows
    running,
    begin: running ? null : { name, enabled: enough },
    goOn: stopped,
    back: Boolean(report) && !running,
  };
}
