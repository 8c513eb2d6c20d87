/* A video whose frame n is on show from n / 24 s on, and which of them is. */

const FPS = 24;
const part = (id) => document.getElementById(id);

function playable(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
}

class Player {
  /* `shown` is told the number of each frame that comes on the screen. */
  constructor(video, shown) {
    Object.assign(this, { video, shown, num_frames: 0, frame: 0, first: 0, target: null });
    video.addEventListener("loadedmetadata", () => { if (this.first) this.seek(this.first); });
    // Some browsers do not tell of the frame that a seek ends at, where it is the first one.
    video.addEventListener("seeked", () => requestAnimationFrame(() => {
      if (this.target !== null && !video.seeking) this.show(this.target);
    }));
    this.follow();
  }

  load(url, num_frames, first = 0) {
    Object.assign(this, { num_frames, first, target: first || null });
    this.video.src = url;
    this.show(0);
  }

  within(frame) {
    return Math.min(Math.max(frame, 0), Math.max(this.num_frames - 1, 0));
  }

  show(frame) {
    this.frame = this.within(frame);
    if (this.frame === this.target) this.target = null;
    this.shown(this.frame);
  }

  seek(frame) {
    const goal = this.within(frame);
    this.video.pause();
    // A seek that is on its way may still bring another frame first.
    this.target = this.target === null && goal === this.frame ? null : goal;
    // The middle of a frame's time, so that rounding never shows its neighbour.
    this.video.currentTime = (goal + 0.5) / FPS;
  }

  /* Where a seek that is on its way leads, else what is on show. */
  get goal() {
    return this.target ?? this.frame;
  }

  /* From the goal, so that no step is lost. */
  step(by) {
    this.seek(this.goal + by);
  }

  /* The browser says which frame is on the screen. */
  follow() {
    if ("requestVideoFrameCallback" in this.video) {
      this.video.requestVideoFrameCallback((_, { mediaTime }) => {
        this.show(Math.round(mediaTime * FPS));
        this.follow();
      });
    } else {
      requestAnimationFrame(() => {
        if (!this.video.seeking) this.show(Math.floor(this.video.currentTime * FPS + 0.01));
        this.follow();
      });
    }
  }
}

function save_file(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name.replace(/[^\w.-]/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return link.download;
}
