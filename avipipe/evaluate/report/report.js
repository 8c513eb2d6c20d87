"use strict";

// The page reads well without any of this: it plays two films at once, and switches their sound.

for (const card of document.querySelectorAll(".case")) {
  const [source, edit] = card.querySelectorAll("video");
  const bar = card.querySelector(".bar");
  const play = bar.querySelector(".both");
  const hear = bar.querySelector(".hear");
  bar.hidden = false;
  const stop = () => {
    source.pause();
    edit.pause();
    play.textContent = "Play both";
  };
  play.addEventListener("click", async () => {
    if (!edit.paused) return stop();
    for (const other of document.querySelectorAll(".case video")) other.pause();
    for (const other of document.querySelectorAll(".case .both")) other.textContent = "Play both";
    source.currentTime = edit.currentTime = 0;
    play.textContent = "Stop";
    try {
      await Promise.all([source.play(), edit.play()]);
    } catch {
      stop();
    }
  });
  hear.addEventListener("click", () => {
    const heard = hear.getAttribute("aria-pressed") !== "true";
    hear.setAttribute("aria-pressed", String(heard));
    source.muted = !heard;
    edit.muted = heard;
  });
}
