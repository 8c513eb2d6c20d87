"use strict";

// The page reads well without any of this: filters, copy buttons and curve read-outs only.

const gallery = document.getElementById("gallery");
const chips = gallery.querySelector(".chips");
if (chips) {
  chips.hidden = false;
  chips.addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    for (const chip of chips.children) chip.setAttribute("aria-pressed", String(chip === chosen));
    for (const part of gallery.querySelectorAll("li[data-fate], article[data-fate]")) {
      part.hidden = chosen.dataset.fate !== "" && part.dataset.fate !== chosen.dataset.fate;
    }
  });
}

for (const command of document.querySelectorAll(".cmd")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command.querySelector("code").textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  command.append(button);
}

const LEFT = 40, RIGHT = 10;
for (const figure of document.querySelectorAll("figure.curve")) {
  const { xs, settled, open, precision, recall } = JSON.parse(figure.dataset.curve);
  const caption = figure.querySelector("figcaption");
  const still = [...caption.childNodes];
  const percent = (name, values, n) =>
    values && values[n] !== null ? `, expected ${name} ${Math.round(100 * values[n])} %` : "";
  for (const plot of figure.querySelectorAll("svg")) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const width = plot.viewBox.baseVal.width;
      const at = ((event.clientX - box.left) / box.width) * width;
      const share = Math.min(1, Math.max(0, (at - LEFT) / (width - RIGHT - LEFT)));
      const wanted = xs[0] + share * (xs[xs.length - 1] - xs[0]);
      const near = xs.reduce((best, x, n) =>
        Math.abs(x - wanted) < Math.abs(xs[best] - wanted) ? n : best, 0);
      const more = open[near] ? `, at most ${open[near]} more` : "";
      caption.textContent = `At ${Number(xs[near].toPrecision(3))}: ${settled[near]} clips kept${more}` +
        `${percent("precision", precision, near)}${percent("recall", recall, near)}.`;
    });
    plot.addEventListener("pointerleave", () => { caption.replaceChildren(...still); });
  }
}
