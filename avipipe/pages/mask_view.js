/* How the editor shows itself, and what keys and buttons do. */

Object.assign(MaskEditor.prototype, {
  draw_all() {
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === this.state.tool));
    }
    part("width-told").textContent = `${this.state.width} px`;
    part("width-box").classList.toggle("rest", !this.paints);
    part("m-undo").disabled = !this.state.undo.length;
    part("m-redo").disabled = !this.state.redo.length;
    const { option, why } = this.result();
    part("m-option").replaceChildren(...words_of(option || "–"));
    part("m-option-why").textContent = why;
    part("m-copy").disabled = part("m-save").disabled = !option;
    this.draw_line();
    this.draw();
  },

  draw_line() {
    const { num_frames } = this.track, whole = Math.max(num_frames, 1);
    part("m-spans").replaceChildren(...this.track.stretches().map(({ start, end, kind, glides }) => {
      const span = document.createElement("i");
      const drawn = kind !== "given" || this.track.given;
      span.className = `${drawn ? kind : "nothing"}${glides ? " glides" : ""}`;
      span.style.left = `${100 * start / whole}%`;
      span.style.width = `${100 * (end - start) / whole}%`;
      return span;
    }));
    part("m-stops").replaceChildren(...this.track.frames().map((frame) => {
      const stop = document.createElement("button");
      stop.type = "button";
      stop.tabIndex = -1;
      stop.dataset.frame = frame;
      stop.className = this.state.keys[frame].kind;
      stop.title = `${KIND_WORDS[this.state.keys[frame].kind]}, frame ${frame}`;
      stop.style.left = `${100 * (frame + 0.5) / whole}%`;
      return stop;
    }));
  },

  draw() {
    if (!this.track) return;
    const { frame, track } = this, runs = track.runs(frame, this.shown);
    part("m-head").style.left = `${100 * (frame + 0.5) / Math.max(track.num_frames, 1)}%`;
    part("m-line").setAttribute("aria-valuenow", frame);
    part("m-clock").textContent = `${(frame / FPS).toFixed(2)} s`;
    this.draw_words(frame, num_pixels_in(runs));
    this.draw_picture(runs);
  },

  draw_words(frame, num_pixels) {
    const { track, shown, state } = this, key = state.keys[frame];
    const share = 100 * num_pixels / track.num_pixels;
    const nothing = shown.kind === "given" && !track.given;
    const covers = num_pixels ? ` ${share.toFixed(share < 1 ? 2 : 1)} % of the picture.` : " The mask is empty here.";
    part("m-frame").textContent = `Frame ${frame} of ${track.num_frames} · ${track.width} × ${track.height}`;
    part("m-what").textContent = nothing ? "Nothing drawn yet" : KIND_WORDS[shown.kind];
    part("m-why").textContent = nothing ? "Choose a tool and draw on the picture."
      : (this.drag ? "" : key ? "◆ Key frame." : this.whence(shown)) + covers;
    part("m-drop").disabled = !key;
    part("m-pin").disabled = Boolean(key) || nothing;
    const { points } = this.draft || { points: [] };
    part("m-hint").textContent = !points.length ? ""
      : points.length < 3 ? `${points.length} of at least 3 corners` : "Enter or the first corner closes it";
    for (const stop of part("m-stops").children) stop.classList.toggle("here", Number(stop.dataset.frame) === frame);
  },

  whence({ kind, from, to }) {
    if (kind === "given" && from === undefined) return "The mask that was given.";
    if (to !== undefined) return `On its way from key frame ${from} to ${to}.`;
    return `Held from key frame ${from}.`;
  },

  draw_picture(runs) {
    const { pen, canvas, track } = this, dpr = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * dpr);
    canvas.height = Math.round(canvas.clientHeight * dpr);
    canvas.dataset.frame = this.frame;
    if (!canvas.width || !canvas.height) return;
    if (part("m-veil").getAttribute("aria-pressed") === "true") {
      this.silhouette.lay(pen, runs, track.width, track.height, 1.5 * dpr);
    }
    const scale = canvas.width / track.width;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.lineWidth = 2 * dpr / scale;
    if (this.shown.kind === this.state.tool && this.shown.points) this.draw_handles(this.shown, 4.5 * dpr / scale);
    if (this.draft) this.draw_draft(5 * dpr / scale);
    if (this.paints && this.pointer) this.draw_brush();
    this.draw_cursor();
  },

  draw_handles(shape, radius) {
    const corners = corners_of(shape);
    pen_path(this.pen, corners, true);
    this.pen.strokeStyle = "#fff";
    this.pen.stroke();
    for (const corner of corners) this.dot(corner, radius);
  },

  draw_draft(radius) {
    const { points } = this.draft;
    pen_path(this.pen, this.pointer ? [...points, this.pointer] : points, false);
    this.pen.strokeStyle = "#fff";
    this.pen.stroke();
    points.forEach((point, n) => this.dot(point, n ? radius : 1.5 * radius));
  },

  dot([x, y], radius) {
    this.pen.beginPath();
    this.pen.arc(x, y, radius, 0, 7);
    this.pen.fillStyle = "#fff";
    this.pen.fill();
    this.pen.strokeStyle = "rgb(0 0 0 / .7)";
    this.pen.stroke();
  },

  draw_brush() {
    const [x, y] = this.pointer;
    for (const [colour, more] of [["rgb(0 0 0 / .7)", this.pen.lineWidth], ["#fff", 0]]) {
      this.pen.beginPath();
      this.pen.arc(x, y, this.state.width / 2 + more, 0, 7);
      this.pen.strokeStyle = colour;
      this.pen.stroke();
    }
  },

  draw_cursor() {
    const held = this.pointer && !this.drag && !this.draft && !this.paints && this.grip(this.pointer);
    if (!this.drag) this.canvas.style.cursor = this.paints ? "none" : held ? held.cursor : "crosshair";
  },

  /* A key that was pressed, by hand or by a button. */
  typed(event) {
    const name = event.key.toLowerCase(), far_off = event.shiftKey ? FPS / 2 : 1;
    const other = event.ctrlKey || event.metaKey || event.altKey;
    const undoes = (event.ctrlKey || event.metaKey) && "zy".includes(name);
    const slides = event.target && event.target.matches("input") && name.startsWith("arrow");
    if (!this.track || (other && !undoes) || slides || part("m-help").open) return;
    const acts = {
      b: () => this.choose("box"), p: () => this.choose("polygon"),
      r: () => this.choose("brush"), e: () => this.choose("eraser"),
      "[": () => this.widen(1 / 1.15), "]": () => this.widen(1.15),
      z: () => this.turn_back(...(event.shiftKey ? ["redo", "undo"] : ["undo", "redo"])),
      y: () => this.turn_back("redo", "undo"),
      k: () => this.pin(), x: () => this.drop(), delete: () => this.drop(),
      a: () => this.set(this.frame, { kind: "absent" }),
      ...(this.track.given ? { g: () => this.set(this.frame, { kind: "given" }) } : {}),
      ",": () => this.player.step(-1), ".": () => this.player.step(1),
      arrowleft: () => this.player.step(-far_off), arrowright: () => this.player.step(far_off),
      arrowup: () => this.to_key(-1), arrowdown: () => this.to_key(1),
      " ": () => this.turn(), o: () => this.toggle("m-veil"), s: () => this.toggle("m-sound"),
      c: () => this.copy(), w: () => this.save(), "?": () => part("m-help").showModal(),
      ...(this.draft || this.drag ? { escape: () => this.cancel() } : {}),
      ...(this.draft ? { enter: () => this.finish(), backspace: () => this.take_corner_back() } : {}),
    };
    const act = acts[name];
    if (!act) return;
    event.preventDefault();
    const repeats = [",", ".", "[", "]", "z", "y"].includes(name) || name.startsWith("arrow");
    if (!this.busy && (!event.repeat || repeats)) act();
  },

  take_corner_back() {
    this.draft.points.pop();
    if (!this.draft.points.length) this.draft = null;
    this.draw();
  },

  listen() {
    const { canvas, player } = this, press = (key) => () => this.typed(new KeyboardEvent("keydown", { key }));
    canvas.addEventListener("pointerdown", (event) => { if (this.track) this.down(event); });
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => this.up());
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(canvas);
    const keys = {
      "m-play": " ", "m-back": ",", "m-on": ".", "m-last-key": "ArrowUp", "m-next-key": "ArrowDown",
      "m-veil": "o", "m-sound": "s", "m-pin": "k", "m-drop": "x", "m-absent": "a", "m-given": "g",
      "m-undo": "z", "m-redo": "y", "m-copy": "c", "m-save": "w", "m-help-open": "?",
    };
    for (const [id, key] of Object.entries(keys)) part(id).addEventListener("click", press(key));
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.choose(button.dataset.tool));
    }
    part("width").addEventListener("input", (event) => this.set_width(Number(event.target.value)));
    for (const name of ["play", "pause"]) {
      player.video.addEventListener(name, () => part("m-play").classList.toggle("playing", !player.video.paused));
    }
    this.listen_to_line(part("m-line"));
    addEventListener("pagehide", () => { if (this.track) this.keep(); });
  },

  listen_to_line(line) {
    const scrub = (event) => {
      const { left, width } = line.getBoundingClientRect();
      this.player.seek(Math.floor(this.track.num_frames * (event.clientX - left) / width));
    };
    line.addEventListener("pointerdown", (event) => {
      const { frame } = event.target.dataset;
      if (frame !== undefined) {
        this.player.seek(Number(frame));
        return;
      }
      line.setPointerCapture(event.pointerId);
      scrub(event);
    });
    line.addEventListener("pointermove", (event) => { if (line.hasPointerCapture(event.pointerId)) scrub(event); });
  },
});

/* A text that breaks between its words only. */
function words_of(text) {
  return text.split(" ").flatMap((word, n) => {
    const found = document.createElement("span");
    found.textContent = word;
    return n ? [" ", found] : [found];
  });
}

function pen_path(pen, points, closed) {
  pen.beginPath();
  points.forEach(([x, y], n) => (n ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  if (closed) pen.closePath();
}
