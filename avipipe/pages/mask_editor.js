/* Draws the mask of a film at key frames; see mask_track.js for what they mean. */

const MAX_UNDO = 200;
const KIND_WORDS = { box: "Box", polygon: "Polygon", brush: "Brush mask", absent: "Absent", given: "As given" };

class MaskEditor {
  /* `changed` is told whenever key frames did. */
  constructor(changed = () => {}) {
    this.changed = changed;
    this.canvas = part("m-canvas");
    this.pen = this.canvas.getContext("2d");
    this.silhouette = new Silhouette();
    this.track = null;
    this.player = new Player(part("m-video"), () => this.draw());
    this.listen();
  }

  /* `name` is that of files to come; `store` is where the browser keeps what is drawn. */
  open({ url, name, store, width, height, num_frames, given }) {
    this.store = store;
    this.name = name;
    this.state = { keys: {}, undo: [], redo: [], tool: "box", width: 2 * Math.round(Math.min(width, height) / 24), at: 0 };
    this.kept = true;
    this.load();
    this.drag = this.draft = this.pointer = null;
    this.track = new MaskTrack({ width, height, num_frames, given, keys: this.state.keys });
    part("m-screen").style.setProperty("--ratio", width / height);
    part("m-line").setAttribute("aria-valuemax", num_frames - 1);
    part("width").value = this.state.width;
    part("m-before").textContent = given ? "The given masks." : "What the first key frame says.";
    for (const each of document.querySelectorAll(".given-only")) each.hidden = !given;
    part("m-given").hidden = !given;
    this.say("");
    this.player.load(url, num_frames, this.state.at);
    this.draw_all();
  }

  close() {
    this.player.video.pause();
    this.player.video.removeAttribute("src");
    this.player.video.load();
    this.track = null;
  }

  get frame() {
    return this.drag ? this.drag.frame : this.player.frame;
  }

  /* What this frame shows, with what is being drawn. */
  get shown() {
    return this.drag && this.drag.key ? this.drag.key : this.track.at(this.frame);
  }

  /* What is drawn. Every change goes to the browser's store at once. */

  load() {
    try {
      Object.assign(this.state, JSON.parse(localStorage.getItem(this.store)));
    } catch {
      this.kept = false;
    }
  }

  keep() {
    this.state.at = this.player.goal;
    try {
      localStorage.setItem(this.store, JSON.stringify(this.state));
    } catch {
      this.kept = false;
    }
    if (!this.kept) this.say("This browser keeps nothing of this page: save masks.json before you close it.");
  }

  set(frame, key) {
    this.state.undo.push([frame, this.put(frame, key)]);
    this.state.undo.splice(0, this.state.undo.length - MAX_UNDO);
    this.state.redo = [];
    this.say("");
    this.after_change();
  }

  /* Returns what was there. */
  put(frame, key) {
    const before = this.state.keys[frame] || null;
    if (key) this.state.keys[frame] = key;
    else delete this.state.keys[frame];
    return before;
  }

  turn_back(from, to) {
    const last = this.state[from].pop();
    if (!last) return;
    const [frame, key] = last;
    this.state[to].push([frame, this.put(frame, key)]);
    this.after_change();
    if (frame !== this.player.goal) this.player.seek(frame);
  }

  after_change() {
    this.keep();
    this.draw_all();
    this.changed();
  }

  pin() {
    const { kind, points, over_given, add, cut } = this.shown;
    if (kind === "given" && !this.track.given) {
      this.say("Nothing is drawn yet: there is nothing to make a key frame of.");
      return;
    }
    const key = points ? { kind, points: rounded(points) } : { kind, over_given, add, cut };
    this.set(this.frame, JSON.parse(JSON.stringify(key)));
  }

  drop() {
    if (this.state.keys[this.frame]) this.set(this.frame, null);
    else this.say("There is no key frame here: go to one with ↑ or ↓.");
  }

  to_key(step) {
    const frames = this.track.frames();
    const found = step < 0 ? frames.findLast((each) => each < this.frame) : frames.find((each) => each > this.frame);
    if (found !== undefined) this.player.seek(found);
  }

  choose(tool) {
    this.state.tool = tool;
    this.draft = null;
    this.keep();
    this.draw_all();
  }

  widen(times) {
    const width = 2 * Math.round(this.state.width * times / 2) + (times > 1 ? 2 : -2);
    this.set_width(width);
  }

  set_width(width) {
    this.state.width = Math.min(Math.max(width, 2), 400);
    part("width").value = this.state.width;
    this.keep();
    this.draw_all();
  }

  /* The pointer. */

  point(event) {
    const { left, top, width } = this.canvas.getBoundingClientRect();
    const scale = this.track.width / width;
    const x = Math.round((event.clientX - left) * scale), y = Math.round((event.clientY - top) * scale);
    return [Math.min(Math.max(x, 0), this.track.width), Math.min(Math.max(y, 0), this.track.height)];
  }

  /* How many pixels of the source something of that size on the screen is. */
  on_screen(px) {
    return px * this.track.width / Math.max(this.canvas.clientWidth, 1);
  }

  down(event) {
    if (event.button > 0 || this.busy) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.point(event), { frame } = this.player;
    this.player.video.pause();
    if (this.paints) this.begin_paint(at, frame, event.shiftKey);
    else if (this.state.tool === "polygon" && (this.draft || !this.grip(at))) this.add_corner(at);
    else this.begin_shape(at, frame);
    this.draw();
  }

  get paints() {
    return this.state.tool === "brush" || this.state.tool === "eraser";
  }

  grip(at) {
    const { shown } = this;
    return shown.kind === this.state.tool ? grip(shown, at, this.on_screen(NEAR_PX)) : null;
  }

  begin_paint(at, frame, turned) {
    const erases = (this.state.tool === "eraser") !== turned;
    const paint = new Paint(this.track, this.track.at(frame), frame);
    paint.disc(at, this.state.width / 2, erases);
    this.drag = { frame, paint, last: at, erases, key: paint.key() };
  }

  begin_shape(at, frame) {
    const held = this.grip(at);
    const to = held ? held.to : (goal) => ordered([at, goal]);
    this.drag = { frame, to, at, key: null };
  }

  add_corner(at) {
    const frame = this.player.frame;
    if (!this.draft || this.draft.frame !== frame) this.draft = { frame, points: [] };
    const [first] = this.draft.points;
    if (this.draft.points.length > 2 && far(first, at) <= this.on_screen(NEAR_PX)) this.finish();
    else if (!this.draft.points.length || far(this.draft.points.at(-1), at) >= 1) this.draft.points.push(at);
  }

  finish() {
    const { draft } = this;
    this.draft = null;
    if (draft && draft.points.length > 2 && is_shape(draft.points)) {
      this.set(draft.frame, { kind: "polygon", points: draft.points });
    } else if (draft) this.say("A polygon has three corners or more.");
    this.draw();
  }

  move(event) {
    if (!this.track) return;
    this.pointer = this.point(event);
    const { drag, pointer } = this;
    if (drag && drag.paint) {
      drag.paint.line(drag.last, pointer, this.state.width / 2, drag.erases);
      Object.assign(drag, { last: pointer, key: drag.paint.key() });
    } else if (drag && far(drag.at, pointer) > 0) {
      const points = drag.to(pointer);
      if (is_shape(points)) drag.key = { kind: this.state.tool, points };
    }
    this.draw();
  }

  up() {
    const { drag } = this;
    if (!drag) return;
    this.drag = null;
    if (drag.key) this.set(drag.frame, drag.key);
    // A frame that came while the film was stopping is not the one that was drawn on.
    if (this.player.goal !== drag.frame) this.player.seek(drag.frame);
    this.draw();
  }

  cancel() {
    this.drag = this.draft = null;
    this.draw();
  }

  /* What comes out. */

  result() {
    const only = this.track.only_shape(), { width, height } = this.track;
    const told = only && option_of(only, width, height);
    if (told) return { option: told, why: "One shape that holds for all frames: this says it all." };
    const kinds = new Set(this.track.stretches().map(({ kind }) => kind));
    if (!this.track.frames().length && !this.track.given) return { option: "", why: "Nothing is drawn yet." };
    const precision = kinds.has("polygon") ? 2 : kinds.has("brush") && !this.track.given ? 1 : null;
    return {
      option: `--mask ${file_name(this.name)}${precision ? ` --precision ${precision}` : ""}`,
      why: precision ? "Save masks.json first. The precision says how far a mask drawn so may be off." : "Save masks.json first.",
    };
  }

  async copy() {
    const { option } = this.result();
    if (!option) return;
    try {
      await navigator.clipboard.writeText(option);
      this.say("Copied.");
    } catch {
      getSelection().selectAllChildren(part("m-option"));
      this.say(document.execCommand("copy") ? "Copied." : "Press Ctrl+C: this browser lets no page copy.");
    }
  }

  async save() {
    if (this.busy) return;
    if (!this.result().option) {
      this.say("Nothing is drawn yet.");
      return;
    }
    const { width, height, num_frames } = this.track;
    this.busy = true;
    const frames = await this.track.all_counts(async (done) => {
      this.say(`${done} of ${num_frames} frames`);
      await new Promise((resume) => { setTimeout(resume); });
    });
    this.busy = false;
    if (frames.every((counts) => !num_pixels_in(runs_from(counts)))) {
      this.say("The mask is empty in every frame: draw something first.");
      return;
    }
    const text = JSON.stringify({ fps: FPS, frames, size: [height, width] });
    const name = save_file(file_name(this.name), "application/json", `${text}\n`);
    this.say(`Saved ${name}: ${num_frames} frames of ${width} × ${height}.`);
  }

  say(text) {
    part("m-said").textContent = text;
    part("m-said").hidden = !text;
  }

  turn() {
    const { video } = this.player;
    if (video.paused) video.play().catch((error) => this.say(`The film does not play: ${error.message}`));
    else video.pause();
  }

  toggle(id) {
    const on = part(id).getAttribute("aria-pressed") !== "true";
    part(id).setAttribute("aria-pressed", String(on));
    this.player.video.muted = part("m-sound").getAttribute("aria-pressed") !== "true";
    this.draw();
  }
}

const file_name = (name) => `${name.replace(/[^\w.-]/g, "_")}.masks.json`;
