/* Masks as COCO's compressed run-length codes, as pycocotools writes them. A mask is a Uint8Array
   of height * width zeros and ones, column by column; runs take turns, zeros first. */

function runs_of(mask) {
  const runs = [];
  let value = 0, from = 0;
  while (from < mask.length || !runs.length) {
    const to = mask.indexOf(value ^ 1, from);
    runs.push((to < 0 ? mask.length : to) - from);
    from = to < 0 ? mask.length : to;
    value ^= 1;
  }
  return runs;
}

function mask_of(runs, num_pixels) {
  const mask = new Uint8Array(num_pixels);
  let at = 0;
  runs.forEach((run, n) => {
    if (n % 2) mask.fill(1, at, at + run);
    at += run;
  });
  return mask;
}

/* Five bits a character, low ones first; bit 5 says "goes on", bit 4 of the last is the sign. From
   the fourth run on, each is stored as the difference to the one two before it. */
function counts_of(runs) {
  const codes = [];
  runs.forEach((run, n) => {
    let left = n > 2 ? run - runs[n - 2] : run, more = true;
    while (more) {
      const bits = left & 0x1f;
      left >>= 5;
      more = bits & 0x10 ? left !== -1 : left !== 0;
      codes.push(String.fromCharCode((more ? bits | 0x20 : bits) + 48));
    }
  });
  return codes.join("");
}

function runs_from(counts) {
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let run = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(at) - 48;
      run |= (code & 0x1f) << shift;
      at += 1;
      shift += 5;
    } while (code & 0x20);
    if (code & 0x10 && shift < 32) run |= -1 << shift;
    runs.push(runs.length > 2 ? run + runs[runs.length - 2] : run);
  }
  return runs;
}

const num_pixels_in = (runs) => runs.reduce((sum, run, n) => (n % 2 ? sum + run : sum), 0);
