// Labels beside dots, placed where they cover least.

const LONGEST = 26; // letters of a label
const WAYS = [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, 1], [1, -1], [-1, -1]];
const REACHES = [0, 1, 2, 3]; // lines between a dot and its label

/**
 * Place the text of each of `dots` (at, radius, text), the most important first: beside its dot, else some lines away. A
 * label that would cover another one or a dot everywhere is left out. Returns the dots with x and y of the label's centre,
 * its short text, and whether it stands apart from its dot.
 */
export function placeLabels(dots, { width, height, letter, line, obstacles }) {
  const taken = obstacles.map(({ at: [x, y], radius }) => ({ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius }));
  const placed = [];
  for (const dot of dots) {
    const text = dot.text.length > LONGEST ? `${dot.text.slice(0, LONGEST - 1).trimEnd()}…` : dot.text;
    const half = (text.length * letter) / 2 + 2;
    const spot = places(dot, half, line).find(({ box }) => inside(box, width, height) && !taken.some((other) => overlap(box, other)));
    if (!spot) continue;
    taken.push(spot.box);
    placed.push({ ...dot, text, x: spot.x, y: spot.y, apart: spot.reach > 0 });
  }
  return placed;
}

function places({ at: [x, y], radius }, half, line) {
  return REACHES.flatMap((reach) => WAYS.map(([right, down]) => {
    const [cx, cy] = [x + right * (half + radius + reach * line), y + down * (line / 2 + radius + reach * line)];
    return { x: cx, y: cy, reach, box: { left: cx - half, right: cx + half, top: cy - line / 2, bottom: cy + line / 2 } };
  }));
}

const inside = ({ left, right, top, bottom }, width, height) => left >= 2 && right <= width - 2 && top >= 2 && bottom <= height - 2;

const overlap = (one, other) => one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
