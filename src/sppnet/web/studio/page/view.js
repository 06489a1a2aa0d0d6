// Where the image lies on the stage: scale and shift between pixels of the image and of the screen.

export class View {
  constructor() {
    Object.assign(this, { scale: 1, x: 0, y: 0, image: { width: 1, height: 1 }, stage: { width: 1, height: 1 } });
  }

  get fitting() {
    const margin = 24;
    const across = (this.stage.width - margin) / this.image.width;
    const down = (this.stage.height - margin) / this.image.height;
    return Math.max(0.01, Math.min(across, down, 8));
  }

  fit() {
    this.scale = this.fitting;
    this.x = (this.stage.width - this.image.width * this.scale) / 2;
    this.y = (this.stage.height - this.image.height * this.scale) / 2;
  }

  zoom(factor, x = this.stage.width / 2, y = this.stage.height / 2) {
    const scale = Math.min(40, Math.max(this.fitting / 2, this.scale * factor));
    const [left, top] = this.toImage(x, y);
    this.scale = scale;
    this.x = x - left * scale;
    this.y = y - top * scale;
    this.keepInSight();
  }

  // Brings a box [left, top, right, bottom] to the middle, as large as it fits with some of its surroundings.
  show([left, top, right, bottom]) {
    const around = 1.6;
    const fitting = Math.min(this.stage.width / (right - left), this.stage.height / (bottom - top)) / around;
    this.scale = Math.min(40, Math.max(this.fitting, fitting));
    this.x = this.stage.width / 2 - ((left + right) / 2) * this.scale;
    this.y = this.stage.height / 2 - ((top + bottom) / 2) * this.scale;
  }

  pan(across, down) {
    this.x += across;
    this.y += down;
    this.keepInSight();
  }

  keepInSight() {
    const margin = 60;
    const { width, height } = this.image;
    this.x = Math.min(this.stage.width - margin, Math.max(margin - width * this.scale, this.x));
    this.y = Math.min(this.stage.height - margin, Math.max(margin - height * this.scale, this.y));
  }

  toImage(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  toStage([left, top, right, bottom]) {
    return [left, top, right, bottom].map((edge, place) => edge * this.scale + (place % 2 ? this.y : this.x));
  }
}

// Whether a wheel's turn comes from two fingers on a trackpad. A mouse turns one wheel by whole, large steps; fingers that
// pinch come as a wheel with Ctrl.
export function isTrackpad({ ctrlKey, deltaMode, deltaX, deltaY }) {
  if (ctrlKey || deltaMode !== 0) return false;
  return deltaX !== 0 || Math.abs(deltaY) < 40 || !Number.isInteger(deltaY);
}
