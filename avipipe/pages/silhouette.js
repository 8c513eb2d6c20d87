/* Lays a mask over a picture: tinted where it is, with a rim around it. */

const AROUND = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]];

class Silhouette {
  constructor() {
    this.shape = document.createElement("canvas").getContext("2d");
    this.rim = document.createElement("canvas").getContext("2d");
  }

  /* Over all of the canvas of `pen`; runs are of a mask of this width and height. */
  lay(pen, runs, width, height, rim_px) {
    const { width: across, height: down } = pen.canvas;
    if (!runs.length || !across || !down) return;
    this.fill(runs, width, height);
    const shape = this.shape.canvas, rim = this.rim;
    Object.assign(rim.canvas, { width: across, height: down });
    for (const [x, y] of AROUND) rim.drawImage(shape, x * rim_px, y * rim_px, across, down);
    rim.globalCompositeOperation = "destination-out";
    rim.drawImage(shape, 0, 0, across, down);
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalAlpha = 0.4;
    pen.drawImage(shape, 0, 0, across, down);
    pen.globalAlpha = 1;
    pen.shadowColor = "#fff";
    pen.shadowBlur = rim_px * 1.5;
    pen.drawImage(rim.canvas, 0, 0);
    pen.restore();
  }

  fill(runs, width, height) {
    Object.assign(this.shape.canvas, { width, height });
    this.shape.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--mask");
    let at = 0;
    runs.forEach((run, n) => {
      const end = at + run;
      if (n % 2 === 0) at = end;
      while (at < end) {
        const x = Math.floor(at / height), y = at % height;
        // Whole columns at once, else what is left of one.
        const columns = y ? 0 : Math.floor((end - at) / height);
        const rows = columns ? height : Math.min(end - at, height - y);
        this.shape.fillRect(x, y, columns || 1, rows);
        at += (columns || 1) * rows;
      }
    });
  }
}
