/* Edit pairs: what editors will be asked of a clip, for people to correct or to reject. */

const corrector = part("corrector"), corrector_form = part("corrector-form");
const TEXTS = ["instruction", "source_caption", "target_caption", "source_label", "target_label", "sound_instruction"];
const MAY_BE_NONE = new Set(["target_label", "sound_instruction"]);
let corrected_pair = null;

const correction_of = (clip_id, name) => (state.edits[clip_id] || {})[name];
const has_pairs = () => clips.some((clip) => clip.edits.length);
const corrections = () => clips.flatMap((clip) => clip.edits.flatMap((pair) => {
  const found = correction_of(clip.clip_id, pair.name);
  return found ? [{ clip_id: clip.clip_id, name: pair.name, ...found }] : [];
}));

/* Whether two ask for the same, whoever made them; null is a rejected one. */
const is_alike = (one, other) => one === other
  || Boolean(one && other && [...TEXTS, "precision"].every((key) => one[key] === other[key]));

function put_edits(changes) {
  for (const [clip_id, name, correction] of changes) {
    const own = { ...state.edits[clip_id], [name]: correction };
    if (!correction) delete own[name];
    state.edits[clip_id] = own;
  }
}

/* A pair as somebody left it (`made`), null where it is rejected, or as it was. */
function settle(pair, made) {
  const clip = clips[state.at];
  change([], [[clip.clip_id, pair.name, is_alike(made, pair) ? null : { pair: made, ...signed() }]]);
  save();
  say("");
  draw_edits(clip);
  part("undo").disabled = false;
}

function draw_edits(clip) {
  part("edits").hidden = !clip.edits.length;
  part("edit-list").replaceChildren(...clip.edits.map((pair) => edit_card(clip, pair)));
  draw_edit_files();
}

function draw_edit_files() {
  part("export-edits").hidden = part("done-edits").hidden = !has_pairs();
  part("export-edits").disabled = !corrections().length;
}

function edit_card(clip, pair) {
  const correction = correction_of(clip.clip_id, pair.name);
  const shown = (correction && correction.pair) || pair;
  const card = document.createElement("li");
  card.className = correction ? (correction.pair ? "corrected" : "rejected") : "";
  card.dataset.pair = pair.name;
  const becomes = shown.target_label === null ? "nothing" : shown.target_label;
  const facts = [`${shown.source_label} → ${becomes}`, `mask p = ${shown.precision}`];
  const marks = [line("b", pair.kind.replaceAll("_", " "), "kind")];
  if (correction) marks.push(line("b", correction.pair ? "corrected" : "rejected", "mark"));
  const buttons = document.createElement("p");
  buttons.className = "buttons";
  if (correction) buttons.append(button("As it was", () => settle(pair, pair)));
  if (!correction || correction.pair) {
    buttons.append(button("Correct", () => open_corrector(clip, pair, shown)));
    buttons.append(button("Reject", () => settle(pair, null)));
  }
  const top = document.createElement("p");
  top.append(...marks.flatMap((mark) => [mark, " "]), line("span", facts.join(" · "), "facts"));
  const sound = shown.sound_instruction === null ? "stays" : shown.sound_instruction;
  card.append(
    top, line("p", shown.instruction, "instruction"), line("p", shown.target_caption, "after"),
    line("p", `Sound: ${sound}`, "after"), buttons,
  );
  return card;
}

function line(tag, text, name) {
  const found = document.createElement(tag);
  found.className = name;
  found.textContent = text;
  return found;
}

function button(text, act) {
  const found = line("button", text, "");
  found.type = "button";
  found.addEventListener("click", act);
  return found;
}

/* The form. */

function open_corrector(clip, pair, shown) {
  corrected_pair = pair;
  video.pause();
  part("corrector-kind").textContent = `${pair.kind.replaceAll("_", " ")} · ${pair.made_by}`;
  part("corrector-wrong").hidden = true;
  for (const key of TEXTS) corrector_form.elements[key].value = shown[key] === null ? "" : shown[key];
  const { precision, target_label } = corrector_form.elements;
  target_label.disabled = pair.kind === "delete";
  target_label.placeholder = target_label.disabled ? "nothing: it is deleted" : "";
  precision.value = shown.precision;
  if (clip.max_precision) precision.max = clip.max_precision;
  else precision.removeAttribute("max");
  part("corrector-most").textContent = clip.max_precision || "the largest";
  corrector.showModal();
}

function told_pair() {
  const told = { ...corrected_pair, made_by: "person" };
  for (const key of TEXTS) {
    const text = corrector_form.elements[key].value.trim().replace(/\s+/g, " ");
    told[key] = text || (MAY_BE_NONE.has(key) ? null : "");
  }
  told.precision = corrector_form.elements.precision.value.trim() === "" ? NaN : Number(corrector_form.elements.precision.value);
  return told;
}

/* What the data contract of an edit pair has against one; empty if nothing. */
function wrong_with(pair, max_precision) {
  for (const key of ["instruction", "source_caption", "target_caption", "source_label"]) {
    if (typeof pair[key] !== "string" || !pair[key]) return `Say the ${key.replace("_", " ")}.`;
  }
  for (const key of MAY_BE_NONE) {
    if (pair[key] !== null && typeof pair[key] !== "string") return `The ${key.replace("_", " ")} is no text.`;
  }
  if (pair.kind !== "delete" && !pair.target_label) return "Say what it becomes.";
  if (pair.kind !== "sound" && pair.source_caption === pair.target_caption) return "The captions have to differ.";
  const most = max_precision || Infinity;
  if (!Number.isInteger(pair.precision) || pair.precision < 0 || pair.precision > most) {
    return max_precision ? `The precision is a whole number from 0 to ${most}.` : "The precision is a whole number, 0 or more.";
  }
  return "";
}

corrector_form.addEventListener("submit", (event) => {
  const told = told_pair(), wrong = wrong_with(told, clips[state.at].max_precision);
  part("corrector-wrong").textContent = wrong;
  part("corrector-wrong").hidden = !wrong;
  if (wrong) event.preventDefault();
  else settle(corrected_pair, told);
});
part("corrector-cancel").addEventListener("click", () => corrector.close());

/* Files. */

function save_edits_as_file() {
  if (!has_pairs()) return;
  const found = corrections();
  if (!found.length) {
    say("No edit is corrected or rejected yet.");
    return;
  }
  const lines = found.map(({ clip_id, name, pair, ...how }) => JSON.stringify(
    { clip_id, name, pair, dataset: page.dataset, ...how },
  ) + "\n");
  const name = `edits-${page.dataset}-${page.page_id}.jsonl`;
  say(`Exported ${found.length} edits to ${save_file(name, "application/x-ndjson", lines.join(""))}.`);
}

function is_correction({ name, pair }) {
  if (typeof name !== "string" || typeof pair !== "object") return false;
  return pair === null || (pair.name === name && name.startsWith(`${pair.kind}-`) && !wrong_with(pair, 0));
}
