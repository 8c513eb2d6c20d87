/* The page of a study: one comparison after the other, answered question by question. */

const page = JSON.parse(part("data").textContent);
const STORE = `avipipe-study:${page.study}`;
const SIDES = ["source", "a", "b"];
const CHOICES = [["a", "A", "←"], ["same", "No difference", "↓"], ["b", "B", "→"]];

/* What is answered: of each rater, by trial. Every change goes to the browser's store at once. */

let all = { rater: "", raters: {} }, own = null, trials = [], mirrored = false, kept = true;
let heard = new Set(), since = 0;

function load() {
  try {
    all = { ...all, ...JSON.parse(localStorage.getItem(STORE)) };
  } catch {
    kept = false;
  }
}

function save() {
  try {
    localStorage.setItem(STORE, JSON.stringify(all));
  } catch {
    kept = false;
  }
  if (!kept) say("This browser keeps nothing of this page: export before you close it.");
}

/* FNV-1a: each rater begins at another trial, and every other one has the sides exchanged. */
function number_of(text) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

function enter(rater) {
  all.rater = rater;
  own = all.raters[rater] ||= { at: 0, trials: {} };
  const number = number_of(page.study + rater);
  const first = (number >>> 1) % page.trials.length;
  mirrored = number % 2 === 1;
  trials = [...page.trials.slice(first), ...page.trials.slice(0, first)];
  part("start").hidden = true;
  for (const id of ["top", "bar", "judge"]) part(id).hidden = false;
  go(own.at);
}

const sides_of = ({ source, left, right }) => (
  mirrored ? { source, a: right, b: left } : { source, a: left, b: right }
);
const answers_of = (trial) => (own.trials[trial.name] || {}).answers || {};
const is_done = (trial) => page.questions.every(({ name }) => answers_of(trial)[name]);
const num_done = () => trials.filter(is_done).length;
const open_question = (trial) => page.questions.find(({ name }) => !answers_of(trial)[name]);
const may_answer = (trial) => is_done(trial) || (heard.has("a") && heard.has("b"));

function answer(name, choice) {
  const trial = trials[own.at];
  if (!trial || !may_answer(trial)) return;
  const mine = own.trials[trial.name] ||= { answers: {}, seconds: 0 };
  mine.answers[name] = choice;
  mine.seconds += (performance.now() - since) / 1000;
  since = performance.now();
  mine.answered_at = new Date().toISOString();
  save();
  draw();
}

function take_back() {
  const trial = trials[own.at];
  const given = trial ? page.questions.filter(({ name }) => answers_of(trial)[name]) : [];
  if (!given.length) return go(own.at - 1);
  heard = new Set(["a", "b"]);
  delete own.trials[trial.name].answers[given.at(-1).name];
  save();
  return draw();
}

/* Files. */

function exported() {
  return trials.filter(is_done).map((trial) => {
    const { a, b } = sides_of(trial);
    const { answers, seconds, answered_at } = own.trials[trial.name];
    const chosen = Object.entries(answers).map(([name, choice]) => [name, { a, b, same: "same" }[choice]]);
    return JSON.stringify({
      study: page.study, rater: all.rater, trial: trial.name, left: a, right: b,
      answers: Object.fromEntries(chosen), seconds: Math.round(seconds * 10) / 10, answered_at,
    }) + "\n";
  }).join("");
}

function save_as_file() {
  const number = num_done();
  if (!number) return say("Nothing is answered yet.");
  const name = `answers-${page.study}-${all.rater}.jsonl`;
  return say(`Exported ${number} of ${trials.length} comparisons to ${save_file(name, "application/x-ndjson", exported())}.`);
}

/* The films: one is heard at a time. */

const videos = Object.fromEntries(SIDES.map((side) => [side, part(`film-${side}`).querySelector("video")]));
let urls = [];

function show_films(trial) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  const films = sides_of(trial);
  for (const side of SIDES) {
    const url = playable(part(films[side]).textContent);
    urls.push(url);
    videos[side].src = url;
    const box = part(`film-${side}`);
    box.classList.remove("is-heard", "is-playing");
    box.style.setProperty("--ratio", page.shapes[films[side]]);
    box.style.setProperty("--time", 0);
  }
}

function play(side) {
  const trial = trials[own.at];
  if (!trial) return;
  const video = videos[side];
  const stops = !video.paused;
  for (const other of Object.values(videos)) other.pause();
  if (stops) return;
  if (video.ended) video.currentTime = 0;
  video.play().catch(() => {});
}

function hear(side) {
  heard.add(side);
  draw();
}

for (const side of SIDES) {
  const video = videos[side], box = part(`film-${side}`);
  for (const name of ["play", "pause"]) {
    video.addEventListener(name, () => box.classList.toggle("is-playing", !video.paused));
  }
  video.addEventListener("timeupdate", () => box.style.setProperty("--time", video.currentTime / video.duration || 0));
  video.addEventListener("ended", () => hear(side));
  video.addEventListener("error", () => {
    say(`This browser cannot play ${side === "source" ? "the source" : side.toUpperCase()}.`);
    hear(side);
  });
  box.querySelector("button").addEventListener("click", () => play(side));
}

/* The page. */

function say(text) {
  part("said").textContent = text;
  part("said").hidden = !text;
}

function go(at) {
  own.at = Math.min(Math.max(at, 0), trials.length);
  save();
  const trial = trials[own.at];
  heard = new Set();
  since = performance.now();
  for (const video of Object.values(videos)) video.pause();
  if (trial) show_films(trial);
  draw();
}

function next() {
  const trial = trials[own.at];
  if (!trial || !is_done(trial)) return;
  say("");
  go(own.at + 1);
}

function draw() {
  const trial = trials[own.at], done = num_done();
  const told = document.createElement("b");
  told.textContent = done;
  part("count").replaceChildren(told, ` of ${trials.length}`);
  document.title = `${done} of ${trials.length}: which is better?`;
  part("bar").setAttribute("aria-valuenow", done);
  part("bar").firstChild.style.width = `${100 * done / trials.length}%`;
  part("rater").textContent = all.rater;
  part("trial").hidden = !trial;
  part("done").hidden = Boolean(trial);
  part("judge").classList.toggle("rest", !trial);
  part("back").disabled = own.at === 0 && !Object.keys(trial ? answers_of(trial) : {}).length;
  part("next").hidden = !trial;
  part("hint").textContent = "";
  if (trial) draw_trial(trial);
  else part("done-count").textContent = `${done} of ${trials.length} comparisons`;
}

function draw_trial(trial) {
  const current = open_question(trial), may = may_answer(trial);
  part("text").textContent = trial.text;
  part("asked").hidden = !trial.text;
  for (const side of SIDES) {
    part(`film-${side}`).classList.toggle("is-heard", heard.has(side));
  }
  page.questions.forEach(({ name }, place) => {
    const row = part("questions").children[place];
    row.classList.toggle("current", may && Boolean(current) && current.name === name);
    for (const button of row.querySelectorAll("button")) {
      button.disabled = !may;
      button.setAttribute("aria-pressed", String(answers_of(trial)[name] === button.dataset.choice));
    }
  });
  part("next").disabled = Boolean(current);
  const unheard = ["a", "b"].filter((side) => !heard.has(side)).map((side) => side.toUpperCase());
  if (!may) part("hint").textContent = `Play ${unheard.join(" and ")} to the end first.`;
}

page.questions.forEach(({ name, words }) => {
  const row = document.createElement("li"), said = document.createElement("p");
  const choices = document.createElement("div");
  said.textContent = words;
  choices.className = "choices";
  for (const [choice, label, key] of CHOICES) {
    const button = document.createElement("button"), sign = document.createElement("kbd");
    button.type = "button";
    button.dataset.choice = choice;
    sign.textContent = key;
    button.append(`${label} `, sign);
    button.addEventListener("click", () => answer(name, choice));
    choices.append(button);
  }
  row.append(said, choices);
  part("questions").append(row);
});

function choose(choice) {
  const question = trials[own.at] && open_question(trials[own.at]);
  if (question) answer(question.name, choice);
}

const KEYS = {
  0: () => play("source"), 1: () => play("a"), 2: () => play("b"), e: save_as_file,
  arrowleft: () => choose("a"), arrowdown: () => choose("same"), arrowright: () => choose("b"),
  backspace: take_back, enter: next,
};

document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key.toLowerCase()];
  const others = event.ctrlKey || event.metaKey || event.altKey || event.repeat;
  // A button that has the focus is pressed by Enter itself.
  const pressed = event.key === "Enter" && event.target.matches("button:not([data-play], [data-choice])");
  if (!own || !act || others || pressed || !part("start").hidden) return;
  event.preventDefault();
  act();
});

part("back").addEventListener("click", () => go(own.at - 1));
part("next").addEventListener("click", next);
for (const id of ["export", "export-all"]) part(id).addEventListener("click", save_as_file);
part("rater").addEventListener("click", () => {
  for (const video of Object.values(videos)) video.pause();
  for (const id of ["top", "bar", "judge", "trial", "done"]) part(id).hidden = true;
  part("start").hidden = false;
  part("name").select();
});
part("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const rater = part("name").value.trim();
  if (rater) enter(rater);
});

load();
part("name").value = all.rater;
if (all.raters[all.rater]) enter(all.rater);
