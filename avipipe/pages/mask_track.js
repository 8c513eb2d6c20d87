/* The mask of every frame, from shapes at key frames and the masks that were given.

   A key frame holds until the next one; between two boxes, or two polygons with as many corners,
   each corner moves evenly. Before the first key frame are the masks that were given; where there
   are none, what the first one says. Kinds of key frames:
     box       points: two opposite corners    polygon  points: its corners
     brush     counts of what was painted (add) and rubbed out (cut), over the given masks or not
     absent    nothing is there                given    the masks that were given
   Points are in pixels of the upright source; a pixel is in a shape if its middle is. */

class MaskTrack {
  constructor({ width, height, num_frames, given, keys }) {
    Object.assign(this, { width, height, num_frames, given, keys });
  }

  get num_pixels() {
    return this.width * this.height;
  }

  frames() {
    return Object.keys(this.keys).map(Number).sort((a, b) => a - b);
  }

  /* What a frame shows: a key frame's kind, with the points where they are by then. `from` is the
     key frame that it comes of, `to` the next one, if it is on its way there. */
  at(frame) {
    const frames = this.frames();
    const place = frames.findLastIndex((each) => each <= frame);
    if (place < 0) {
      if (this.given || !frames.length) return { kind: "given" };
      return { ...this.keys[frames[0]], from: frames[0] };
    }
    const from = frames[place], to = frames[place + 1];
    const key = this.keys[from], next = this.keys[to];
    const glides = key.points && next && next.kind === key.kind && next.points.length === key.points.length;
    if (!glides || from === frame) return { ...key, from };
    const share = (frame - from) / (to - from);
    const points = key.points.map(([x, y], n) => [
      x + (next.points[n][0] - x) * share,
      y + (next.points[n][1] - y) * share,
    ]);
    return { ...key, points, from, to };
  }

  /* Where two kinds meet, so that neither changes: the stretches of frames of one key frame. */
  stretches() {
    const frames = this.frames();
    const starts = frames[0] === 0 ? frames : [0, ...frames];
    return starts.map((start, n) => {
      const end = n + 1 < starts.length ? starts[n + 1] : this.num_frames;
      return { start, end, kind: this.at(start).kind, glides: end - start > 1 && "to" in this.at(start + 1) };
    });
  }

  given_runs(frame) {
    const counts = this.given && this.given[frame];
    return counts ? runs_from(counts) : [this.num_pixels];
  }

  runs(frame, shown = this.at(frame)) {
    if (shown.kind === "given") return this.given_runs(frame);
    return runs_of(this.mask(frame, shown));
  }

  mask(frame, shown = this.at(frame)) {
    if (shown.points) return this.filled(corners_of(shown));
    if (shown.kind === "brush") {
      const add = mask_of(runs_from(shown.add), this.num_pixels);
      if (!shown.over_given) return add;
      const mask = mask_of(this.given_runs(frame), this.num_pixels);
      const cut = mask_of(runs_from(shown.cut), this.num_pixels);
      return mask.map((value, n) => (value | add[n]) & (cut[n] ^ 1));
    }
    const runs = shown.kind === "given" ? this.given_runs(frame) : [this.num_pixels];
    return mask_of(runs, this.num_pixels);
  }

  /* The inside of a polygon by the even-odd rule, column by column. */
  filled(corners) {
    const { width, height } = this, mask = new Uint8Array(this.num_pixels);
    const xs = corners.map(([x]) => x);
    const first = Math.max(0, Math.floor(Math.min(...xs)));
    const end = Math.min(width, Math.ceil(Math.max(...xs)));
    const row = (y) => Math.min(Math.max(Math.ceil(y - 0.5), 0), height);
    for (let x = first; x < end; x += 1) {
      const crossed = crossings(corners, x + 0.5).map(row);
      for (let n = 0; n + 1 < crossed.length; n += 2) {
        mask.fill(1, x * height + crossed[n], x * height + crossed[n + 1]);
      }
    }
    return mask;
  }

  /* Counts of every frame; `breathe` lets the page show how far it is. */
  async all_counts(breathe) {
    const counts = [];
    let last = null;
    for (let frame = 0; frame < this.num_frames; frame += 1) {
      const shown = this.at(frame), still = !("to" in shown) && !shown.over_given;
      const same = still && last && last.from === shown.from && shown.kind !== "given";
      counts.push(same ? counts[frame - 1] : counts_of(this.runs(frame, shown)));
      last = shown;
      if (frame % 16 === 15) await breathe(frame + 1);
    }
    return counts;
  }

  /* One shape that holds for all frames, if that is all there is. */
  only_shape() {
    const [first, ...others] = this.frames();
    if (first === undefined || others.length || !this.keys[first].points) return null;
    return this.given && first !== 0 ? null : this.keys[first];
  }
}

function corners_of({ kind, points }) {
  if (kind !== "box") return points;
  const [[x0, y0], [x1, y1]] = points;
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
}

function crossings(corners, x) {
  const found = [];
  corners.forEach(([x0, y0], n) => {
    const [x1, y1] = corners[(n + 1) % corners.length];
    if ((x0 <= x) !== (x1 <= x)) found.push(y0 + (x - x0) * (y1 - y0) / (x1 - x0));
  });
  return found.sort((a, b) => a - b);
}

/* What is painted, pixel by pixel; a disc at each point. */
class Paint {
  constructor(track, shown, frame) {
    this.track = track;
    this.over_given = shown.kind === "given" ? Boolean(track.given) : Boolean(shown.over_given);
    const kept = shown.kind === "brush" && this.over_given;
    this.add = kept ? mask_of(runs_from(shown.add), track.num_pixels)
      : this.over_given ? new Uint8Array(track.num_pixels) : track.mask(frame, shown);
    this.cut = kept ? mask_of(runs_from(shown.cut), track.num_pixels) : new Uint8Array(track.num_pixels);
  }

  disc([x, y], radius, erases) {
    const { width, height } = this.track;
    const first = Math.max(0, Math.floor(x - radius)), end = Math.min(width, Math.ceil(x + radius));
    for (let column = first; column < end; column += 1) {
      const reach = Math.sqrt(radius ** 2 - (column + 0.5 - x) ** 2);
      if (Number.isNaN(reach)) continue;
      const top = Math.min(Math.max(Math.ceil(y - reach - 0.5), 0), height);
      const bottom = Math.min(Math.max(Math.ceil(y + reach - 0.5), 0), height);
      this.add.fill(erases ? 0 : 1, column * height + top, column * height + bottom);
      this.cut.fill(erases ? 1 : 0, column * height + top, column * height + bottom);
    }
  }

  /* A disc at each step from one point to another, without the first. */
  line([x0, y0], [x1, y1], radius, erases) {
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, radius / 4)));
    for (let n = 1; n <= steps; n += 1) {
      this.disc([x0 + (x1 - x0) * n / steps, y0 + (y1 - y0) * n / steps], radius, erases);
    }
  }

  key() {
    const add = counts_of(runs_of(this.add));
    return this.over_given
      ? { kind: "brush", over_given: true, add, cut: counts_of(runs_of(this.cut)) }
      : { kind: "brush", over_given: false, add };
  }
}
