/* The page of `avipipe mask`: one film, one mask. */

const page = JSON.parse(part("data").textContent);
const given = JSON.parse(part("masks").textContent);
const editor = new MaskEditor();

document.addEventListener("keydown", (event) => editor.typed(event));

editor.open({
  url: playable(part("film").textContent),
  name: page.name,
  store: `avipipe-mask:${page.page_id}`,
  width: page.width,
  height: page.height,
  num_frames: page.num_frames,
  given: given && given.frames,
});
