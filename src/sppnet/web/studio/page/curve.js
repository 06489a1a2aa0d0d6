// What more labels would bring: errors fall as a power of the number of labelled images, fitted to what was measured.

const LEAST = 3; // points, without which a curve says nothing

// `curve` holds [labelled images, F1]; returns by how much F1 would rise with so many images more, null if unknown.
export function gain(curve, more) {
  const points = curve
    .filter(([images, f1]) => images > 0 && f1 > 0 && f1 < 1)
    .map(([images, f1]) => [Math.log(images), Math.log(1 - f1)]);
  if (points.length < LEAST) return null;
  const [meanX, meanY] = [0, 1].map((side) => points.reduce((total, point) => total + point[side], 0) / points.length);
  const spread = points.reduce((total, [x]) => total + (x - meanX) ** 2, 0);
  if (!spread) return null;
  const slope = points.reduce((total, [x, y]) => total + (x - meanX) * (y - meanY), 0) / spread;
  const errorAt = (images) => Math.exp(meanY + Math.min(0, slope) * (Math.log(images) - meanX));
  const now = curve.at(-1)[0];
  return Math.max(0, errorAt(now) - errorAt(now + more));
}
