// What more labels would bring: errors fall as a power of the number of labelled images, fitted to what was measured.

const LEAST = 3; // points, without which a curve says nothing
const FALL = 0.03; // of F1 from one point to the next: not learning, but classes that came in between, or chance

// `curve` holds [labelled images, F1]; returns by how much F1 would rise with so many images more. Null where that is not known:
// too few points, or a curve that does not rise as one of learning does.
export function gain(curve, more) {
  const points = curve
    .filter(([images, f1]) => images > 0 && f1 > 0 && f1 < 1)
    .map(([images, f1]) => [Math.log(images), Math.log(1 - f1)]);
  const falls = curve.some(([, f1], place) => place > 0 && f1 < curve[place - 1][1] - FALL);
  if (points.length < LEAST || falls) return null;
  const [meanX, meanY] = [0, 1].map((side) => points.reduce((total, point) => total + point[side], 0) / points.length);
  const spread = points.reduce((total, [x]) => total + (x - meanX) ** 2, 0);
  if (!spread) return null;
  const slope = points.reduce((total, [x, y]) => total + (x - meanX) * (y - meanY), 0) / spread;
  if (slope >= 0) return null;
  const errorAt = (images) => Math.exp(meanY + slope * (Math.log(images) - meanX));
  const now = curve.at(-1)[0];
  return errorAt(now) - errorAt(now + more);
}
