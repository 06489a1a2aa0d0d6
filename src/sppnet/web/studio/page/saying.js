// One line of news, read out by screen readers.

const line = document.getElementById("said");
let kept = 0;

export function say(text, { bad = false, busy = false } = {}) {
  // What went wrong stays for a while, whatever comes next.
  if (!bad && Date.now() < kept) return;
  kept = bad ? Date.now() + 6000 : 0;
  line.classList.toggle("no", bad);
  line.classList.toggle("busy", busy);
  line.textContent = text;
}
