/* The review page: one clip after the other, with its mask, for people to judge. */

const page = JSON.parse(document.getElementById("data").textContent);
const clips = page.clips;
const WORDS = { keep: "keep", drop: "drop", wrong_mask: "wrong mask", unsure: "unsure" };
const STORE = `avipipe-review:${page.dataset}:${page.page_id}`;
const NAME_STORE = "avipipe-reviewer";
const video = part("video"), overlay = part("overlay"), pen = overlay.getContext("2d");

/* What is judged. Every change goes to the browser's store at once. */

let state = { at: 0, labels: {}, edits: {}, undo: [] };
let kept = true;

function load() {
  try {
    const found = JSON.parse(localStorage.getItem(STORE));
    if (found) state = { ...state, ...found };
    part("reviewer").value = localStorage.getItem(NAME_STORE) || "";
  } catch {
    kept = false;
  }
  if (!(state.at >= 0 && state.at <= clips.length)) state.at = 0;
}

function save() {
  try {
    localStorage.setItem(STORE, JSON.stringify(state));
  } catch {
    kept = false;
  }
  if (!kept) say("This browser keeps nothing of this page: export before you close it.");
}

const labelOf = (clip) => state.labels[clip.clip_id];
const numJudged = () => clips.filter(labelOf).length;

function change(changes, edits = []) {
  const before = changes.map(([id]) => [id, state.labels[id] || null]);
  const edits_before = edits.map(([id, name]) => [id, name, correction_of(id, name) || null]);
  state.undo.push({ at: state.at, before, edits: edits_before });
  put(changes);
  put_edits(edits);
}

/* When, and by whom, if that is told. */
function signed() {
  const name = part("reviewer").value.trim();
  return { reviewed_at: new Date().toISOString(), ...(name ? { reviewer: name } : {}) };
}

function put(changes) {
  for (const [id, label] of changes) {
    if (label) state.labels[id] = label;
    else delete state.labels[id];
  }
}

function judge(verdict) {
  const clip = clips[state.at];
  if (!clip || (verdict === "wrong_mask" && clip.no_mask)) return;
  change([[clip.clip_id, { verdict, ...signed() }]]);
  say("");
  go(nextOpen());
}

function undo() {
  const last = state.undo.pop();
  if (!last) return;
  const edits = last.edits || [], number = last.before.length + edits.length;
  put(last.before);
  put_edits(edits);
  say(number === 1 ? "Taken back." : `${number} ${edits.length ? "changes" : "verdicts"} taken back.`);
  go(last.at);
}

/* The next clip that is not judged, from here on and around; past the last one if all are. */
function nextOpen() {
  for (let step = 1; step <= clips.length; step += 1) {
    const at = (state.at + step) % clips.length;
    if (!labelOf(clips[at])) return at;
  }
  return clips.length;
}

/* Files. */

function exported() {
  return clips.filter(labelOf).map((clip) => JSON.stringify({
    clip_id: clip.clip_id,
    verdict: labelOf(clip).verdict,
    dataset: page.dataset,
    probability: clip.probability,
    reviewed_at: labelOf(clip).reviewed_at,
    ...(labelOf(clip).reviewer ? { reviewer: labelOf(clip).reviewer } : {}),
  }) + "\n").join("");
}

function save_as_file() {
  if (!numJudged()) {
    say("Nothing is judged yet.");
    return;
  }
  const name = `labels-${page.dataset}-${page.page_id}.jsonl`;
  say(`Exported ${numJudged()} labels to ${save_file(name, "application/x-ndjson", exported())}.`);
}

function parsed(text) {
  const lines = text.split("\n");
  return lines.flatMap((line, n) => {
    if (!line.trim()) return [];
    let label = null;
    try {
      label = JSON.parse(line);
    } catch {
      if (n === lines.length - 1) throw new Error(`the file ends in the middle of line ${n + 1}`);
    }
    const whole = label && typeof label.clip_id === "string" && !Number.isNaN(Date.parse(label.reviewed_at))
      && (Object.hasOwn(WORDS, label.verdict) || is_correction(label));
    if (!whole) throw new Error(`line ${n + 1} is not a label, nor an edit`);
    return [label];
  });
}

function take_in(text) {
  let labels;
  try {
    labels = parsed(text);
  } catch (error) {
    say(`Nothing was imported: ${error.message}. Export it again.`);
    return;
  }
  const known = new Map(clips.map((clip) => [clip.clip_id, clip]));
  const changes = new Map(), edits = new Map();
  let strange = 0, other = 0;
  for (const { clip_id, verdict, name, pair, reviewed_at, reviewer } of labels) {
    const clip = known.get(clip_id), how = { reviewed_at, ...(reviewer ? { reviewer } : {}) };
    if (verdict) {
      const here = changes.get(clip_id) || state.labels[clip_id];
      if (!clip) strange += 1;
      else if (!here) changes.set(clip_id, { verdict, ...how });
      else if (here.verdict !== verdict) other += 1;
    } else {
      const key = JSON.stringify([clip_id, name]), given = edits.get(key);
      const here = (given && given[2]) || correction_of(clip_id, name);
      if (!clip || !clip.edits.some((own) => own.name === name)) strange += 1;
      else if (!here) edits.set(key, [clip_id, name, { pair, ...how }]);
      else if (!is_alike(here.pair, pair)) other += 1;
    }
  }
  const number = changes.size + edits.size;
  if (number) change([...changes], [...edits.values()]);
  const noun = labels.every((label) => label.verdict) ? "labels" : "lines";
  let told = `${number} of ${labels.length} ${noun} imported`;
  if (strange) told += `; ${strange} are of clips that are not on this page`;
  if (other) told += `; ${other} say otherwise than what is judged here, which stays`;
  say(`${told}.`);
  go(labelOf(clips[state.at] || {}) ? nextOpen() : state.at);
}

/* The picture. */

const films = new Map();
const player = new Player(video, paint), silhouette = new Silhouette();
let masks = null;

function film(at) {
  if (!films.has(at)) films.set(at, playable(part(`film-${at}`).textContent));
  return films.get(at);
}

function forget(around) {
  for (const [at, url] of films) {
    if (Math.abs(at - around) > 1) {
      URL.revokeObjectURL(url);
      films.delete(at);
    }
  }
}

function show_film(at) {
  const clip = clips[at];
  masks = masks_of(at);
  // Twice the video's own pixels, for a sharp edge where the picture is enlarged.
  overlay.width = clip.width * 2;
  overlay.height = clip.height * 2;
  part("screen").style.setProperty("--ratio", clip.width / clip.height);
  part("seek").max = clip.num_frames - 1;
  player.load(film(at), clip.num_frames);
  play();
  forget(at);
}

const masks_of = (at) => JSON.parse(part(`masks-${at}`).textContent);

function play() {
  video.play().then(() => { part("start").hidden = true; }).catch((error) => {
    part("start").hidden = error.name !== "NotAllowedError";
  });
}

function paint(frame) {
  part("seek").value = frame;
  part("clock").textContent = `${(frame / FPS).toFixed(2)} s`;
  pen.clearRect(0, 0, overlay.width, overlay.height);
  overlay.dataset.frame = frame;
  const counts = masks && masks.frames[frame];
  if (!counts || part("mask").getAttribute("aria-pressed") !== "true") return;
  const [height, width] = masks.size;
  silhouette.lay(pen, runs_from(counts), width, height, 2);
}

function seek(to) {
  if (clips[state.at]) player.seek(to);
}

/* Mending a mask: the editor over the page, with what is drawn kept for each clip. */

const mender = part("mender"), editor = new MaskEditor(draw_mend);
const mend_store = (clip) => `${STORE}:mask:${clip.clip_id}`;

function mend() {
  const clip = clips[state.at];
  if (!clip || clip.no_mask) return;
  video.pause();
  part("mender-title").textContent = clip.label || clip.clip_id;
  mender.showModal();
  const [height, width] = masks.size;
  editor.open({
    url: film(state.at), name: clip.clip_id, store: mend_store(clip), width, height,
    num_frames: clip.num_frames, given: masks.frames,
  });
}

function is_mended(clip) {
  try {
    return Object.keys(JSON.parse(localStorage.getItem(mend_store(clip))).keys).length > 0;
  } catch {
    return false;
  }
}

function draw_mend() {
  const clip = clips[state.at];
  part("mend").disabled = !clip || Boolean(clip.no_mask);
  part("mend").classList.toggle("strong", Boolean(clip) && (labelOf(clip) || {}).verdict === "wrong_mask");
  part("mended").hidden = !clip || !is_mended(clip);
}

/* The page. */

function say(text) {
  part("said").textContent = text;
  part("said").hidden = !text;
}

function item(list, text, extra) {
  const found = document.createElement("li");
  found.append(text);
  if (extra) found.append(extra);
  list.append(found);
}

function go(at) {
  state.at = Math.min(Math.max(at, 0), clips.length);
  save();
  draw();
}

function draw() {
  const clip = clips[state.at];
  draw_counts();
  part("clip").hidden = !clip;
  part("done").hidden = Boolean(clip);
  part("judge").classList.toggle("rest", !clip);
  for (const button of document.querySelectorAll("[data-verdict]")) {
    const label = clip && labelOf(clip);
    button.setAttribute("aria-pressed", String(Boolean(label && label.verdict === button.dataset.verdict)));
    button.disabled = !clip || (button.dataset.verdict === "wrong_mask" && Boolean(clip.no_mask));
  }
  part("back").disabled = state.at === 0;
  part("next").disabled = !clip;
  part("undo").disabled = !state.undo.length;
  if (!clip) {
    video.pause();
    draw_done();
    return;
  }
  show_film(state.at);
  draw_clip(clip);
}

function draw_counts() {
  const done = numJudged();
  part("count").replaceChildren(bold(done), ` of ${clips.length}`);
  document.title = `${done} of ${clips.length}: ${page.title}`;
  [...part("track").children].forEach((segment, at) => {
    const label = labelOf(clips[at]);
    const button = segment.firstChild;
    button.className = label ? label.verdict : "";
    button.title = `Clip ${at + 1}: ${label ? WORDS[label.verdict] : "not judged"}`;
    button.setAttribute("aria-label", button.title);
    if (at === state.at) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
}

function bold(text) {
  const found = document.createElement("b");
  found.textContent = text;
  return found;
}

function draw_clip(clip) {
  part("place").textContent = `Clip ${state.at + 1} of ${clips.length}`;
  part("label").textContent = clip.label || "No label";
  part("label").classList.toggle("none", !clip.label);
  part("caption").textContent = clip.caption;
  part("caption").hidden = !clip.caption;
  part("no-mask").textContent = clip.no_mask;
  part("no-mask").hidden = !clip.no_mask;
  part("mask").disabled = Boolean(clip.no_mask);
  draw_mend();
  draw_edits(clip);
  part("decision").className = `verdict ${clip.decision}`;
  part("decision").textContent = clip.decision === "keep" ? "kept" : `dropped: ${clip.reason.replaceAll("_", " ")}`;
  part("because").textContent = clip.because;
  draw_chance(clip.probability);
  part("sides").className = `sides ${clip.decision}`;
  for (const [id, sign] of [["for", 1], ["against", -1]]) draw_points(part(id), clip, sign);
  part("heard").replaceChildren();
  part("heard-box").hidden = !clip.heard.length;
  for (const [name, score] of clip.heard) {
    const told = bold(score.toFixed(2));
    told.style.setProperty("--score", score);
    item(part("heard"), `${name} `, told);
  }
  const span = `${clip.start_s.toFixed(2)}–${clip.end_s.toFixed(2)} s`;
  part("facts").replaceChildren();
  for (const text of [clip.source.split("/").pop() || clip.source, span, clip.clip_id]) {
    const fact = document.createElement("span");
    fact.textContent = text;
    part("facts").append(fact, " ");
  }
}

function draw_chance(probability) {
  const known = probability !== null;
  part("chance").hidden = !known;
  if (!known) return;
  const text = `${Math.round(probability * 100)} % likely to be good`;
  part("chance").setAttribute("aria-label", text);
  part("chance").querySelector("i").style.width = `${probability * 100}%`;
  part("chance").querySelector("b").textContent = text;
}

function draw_points(list, clip, sign) {
  const mine = clip.points.filter((point) => point.sign === sign);
  const largest = Math.max(...clip.points.map((point) => Math.abs(point.log_odds || 0)), 1e-9);
  list.replaceChildren();
  for (const point of mine) {
    let weight = null;
    if (point.log_odds !== null) {
      weight = bold((sign > 0 ? "+" : "−") + Math.abs(point.log_odds).toFixed(2));
      weight.style.setProperty("--share", Math.abs(point.log_odds) / largest);
    }
    item(list, point.words, weight);
  }
  if (!mine.length) item(list, "nothing");
}

function draw_done() {
  draw_edit_files();
  part("done-count").textContent = `${numJudged()} of ${clips.length} clips`;
  part("tally").replaceChildren();
  for (const verdict of Object.keys(WORDS)) {
    const number = clips.filter((clip) => (labelOf(clip) || {}).verdict === verdict).length;
    item(part("tally"), bold(number), ` ${WORDS[verdict]}`);
    part("tally").lastChild.className = verdict;
  }
}

function toggle(id) {
  const button = part(id);
  if (button.disabled) return;
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  if (id === "sound") video.muted = !on;
  paint(player.frame);
}

const turn = () => {
  if (!clips[state.at]) return;
  if (video.paused) play(); else video.pause();
};
const KEYS = {
  k: () => judge("keep"),
  d: () => judge("drop"),
  m: () => judge("wrong_mask"),
  u: () => judge("unsure"),
  z: undo,
  n: () => go(nextOpen()),
  e: save_as_file,
  x: save_edits_as_file,
  o: () => toggle("mask"),
  s: () => toggle("sound"),
  i: () => { part("thought").open = !part("thought").open; },
  " ": turn,
  f: mend,
  ",": () => { if (clips[state.at]) player.step(-1); },
  ".": () => { if (clips[state.at]) player.step(1); },
  "?": () => part("help").showModal(),
  arrowleft: () => go(state.at - 1),
  arrowright: () => { if (state.at < clips.length - 1 || numJudged() === clips.length) go(state.at + 1); },
};

document.addEventListener("keydown", (event) => {
  if (mender.open) {
    editor.typed(event);
    return;
  }
  const act = KEYS[event.key.toLowerCase()];
  const undoes = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey);
  const typing = event.target.matches("input[type=text]") || part("help").open || corrector.open;
  if (!act || typing || ((event.ctrlKey || event.metaKey || event.altKey) && !undoes)) return;
  event.preventDefault();
  if (!event.repeat || ",.".includes(event.key)) act();
});

for (const button of document.querySelectorAll("[data-verdict]")) {
  button.addEventListener("click", () => judge(button.dataset.verdict));
}
const CLICKS = {
  undo, export: save_as_file, "export-edits": save_edits_as_file, "export-all": save_as_file, play: turn, start: turn,
  back: KEYS.arrowleft, next: KEYS.arrowright, "help-open": KEYS["?"], import: () => part("file").click(),
  mask: KEYS.o, sound: KEYS.s, mend, "mender-close": () => mender.close(),
};
for (const [id, act] of Object.entries(CLICKS)) part(id).addEventListener("click", act);
part("screen").addEventListener("click", (event) => { if (!event.target.closest("button")) turn(); });
part("seek").addEventListener("input", () => seek(Number(part("seek").value)));
part("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file) take_in(await file.text());
  event.target.value = "";
});
part("reviewer").addEventListener("change", (event) => {
  try {
    localStorage.setItem(NAME_STORE, event.target.value.trim());
  } catch {
    kept = false;
  }
});
for (const name of ["play", "pause"]) {
  video.addEventListener(name, () => part("play").classList.toggle("playing", !video.paused));
}

clips.forEach((clip, at) => {
  const segment = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.tabIndex = -1;
  button.addEventListener("click", () => go(at));
  segment.append(button);
  part("track").append(segment);
});
mender.addEventListener("close", () => {
  editor.close();
  draw_mend();
});
load();
draw();
