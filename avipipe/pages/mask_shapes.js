/* What a pointer does to boxes and polygons: which part of a shape it takes, and where that goes. */

const NEAR_PX = 10;
const LEAST_PX = 2;

const far = ([x0, y0], [x1, y1]) => Math.hypot(x1 - x0, y1 - y0);
const moved = (points, dx, dy) => points.map(([x, y]) => [x + dx, y + dy]);
const rounded = (points) => points.map(([x, y]) => [Math.round(x), Math.round(y)]);
const inside = (shape, [x, y]) => crossings(corners_of(shape), x).filter((each) => each <= y).length % 2 === 1;

/* The part of a shape under a pointer: a function from where it goes to the new points; null for
   none. `near` is how far off a corner may be. */
function grip(shape, at, near) {
  if (!shape.points) return null;
  const points = rounded(shape.points);
  const held = shape.kind === "box" ? box_grip(points, at, near) : corner_grip(points, at, near);
  if (held) return held;
  if (!inside({ ...shape, points }, at)) return null;
  return { cursor: "move", to: ([x, y]) => moved(points, Math.round(x - at[0]), Math.round(y - at[1])) };
}

function corner_grip(points, at, near) {
  const distances = points.map((point) => far(point, at));
  const taken = distances.indexOf(Math.min(...distances));
  if (distances[taken] > near) return null;
  return { cursor: "grab", to: (goal) => points.map((point, n) => (n === taken ? goal : point)) };
}

/* Of a box each side by itself, two of them in a corner. */
function box_grip(points, [x, y], near) {
  const [[x0, y0], [x1, y1]] = points;
  const within = x > x0 - near && x < x1 + near && y > y0 - near && y < y1 + near;
  const side = (value, low, high) => {
    const which = Math.abs(value - low) <= Math.abs(value - high) ? 0 : 1;
    return Math.abs(value - [low, high][which]) <= near ? which : null;
  };
  const across = side(x, x0, x1), down = side(y, y0, y1);
  if (!within || (across === null && down === null)) return null;
  const cursor = across === null ? "ns-resize" : down === null ? "ew-resize"
    : across === down ? "nwse-resize" : "nesw-resize";
  return {
    cursor,
    to: ([gx, gy]) => ordered(points.map(([px, py], n) => [n === across ? gx : px, n === down ? gy : py])),
  };
}

function ordered([[x0, y0], [x1, y1]]) {
  return [[Math.min(x0, x1), Math.min(y0, y1)], [Math.max(x0, x1), Math.max(y0, y1)]];
}

function is_shape(points) {
  const spread = (n) => Math.max(...points.map((point) => point[n])) - Math.min(...points.map((point) => point[n]));
  return spread(0) >= LEAST_PX && spread(1) >= LEAST_PX;
}

/* What `avipipe edit` takes, in pixels of the upright source; null where only a file says it. It
   reads numbers of which none is above 1 as shares of the picture. */
function option_of(shape, width, height) {
  if (shape.kind === "polygon") {
    const points = rounded(shape.points);
    return Math.max(...points.flat()) > 1 ? `--mask-polygon '${points.map((point) => point.join(",")).join(" ")}'` : null;
  }
  const [[x0, y0], [x1, y1]] = rounded(shape.points).map(([x, y]) => [
    Math.min(Math.max(x, 0), width),
    Math.min(Math.max(y, 0), height),
  ]);
  const numbers = [x0, y0, x1 - x0, y1 - y0];
  return Math.min(...numbers.slice(2)) > 0 && Math.max(...numbers) > 1 ? `--mask-box ${numbers.join(",")}` : null;
}
