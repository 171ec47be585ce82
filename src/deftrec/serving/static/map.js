// Map of the item latents with the history, the denoising paths and the recommended items.

import { makeSvg } from "./dom.js";
import { placeLabels } from "./labels.js";

const [WIDTH, HEIGHT, MARGIN] = [600, 516, 26];
const REACH = 16;
const SMALL = matchMedia("(max-width: 720px)"); // the map is drawn at about half its size there
const NAMED = 4; // number of newest history items that are named

export class LatentMap {
  /** Draws into `svg`, shows titles in `tip`, and calls `choose(item)` for a clicked item. */
  constructor(svg, tip, choose) {
    this.svg = svg;
    this.tip = tip;
    this.items = [];
    this.history = [];
    this.found = [];
    this.paths = [];
    this.step = 1;
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.addEventListener("pointermove", (event) => this.name(this.nearest(event)));
    svg.addEventListener("pointerleave", () => this.name(null));
    svg.addEventListener("click", (event) => {
      const item = this.nearest(event);
      if (item) choose(item);
    });
  }

  get steps() {
    return this.paths[0]?.length ?? 0;
  }

  /** Change any of items, history, found, paths and step, and draw again. */
  show(changes) {
    Object.assign(this, changes);
    if (changes.items || changes.paths || changes.found || changes.history) this.frame();
    if (this.centre) this.names ??= this.named();
    this.draw();
  }

  /** Choose scale and centre so that all items and paths fit. */
  frame() {
    const points = [...this.items, ...this.history, ...this.found].map((one) => one.place).concat(...this.paths);
    if (!points.length) return;
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [left, right, low, high] = [least(xs), most(xs), least(ys), most(ys)];
    this.scale = Math.min(
      (WIDTH - 2 * MARGIN) / Math.max(right - left, 1e-9), (HEIGHT - 2 * MARGIN) / Math.max(high - low, 1e-9));
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.names = null;
  }

  /** Labels of the recommended items and of the newest items of the history, where there is room for them. */
  named() {
    const found = this.found.map((item) => ({ item, kind: "of-found", radius: SMALL.matches ? 15 : 10 }));
    const past = this.history.slice(-NAMED).reverse().map((item) => ({ item, kind: "of-history", radius: SMALL.matches ? 8 : 5 }));
    const dots = [...found, ...past].map((one) => ({ ...one, at: this.at(one.item.place), text: one.item.title }));
    return placeLabels(SMALL.matches ? dots.slice(0, 6) : dots, {
      width: WIDTH, height: HEIGHT, letter: SMALL.matches ? 10 : 6.3, line: SMALL.matches ? 21 : 14,
      obstacles: dots.map(({ at, radius }) => ({ at, radius })),
    });
  }

  at([x, y]) {
    return [WIDTH / 2 + (x - this.centre[0]) * this.scale, HEIGHT / 2 - (y - this.centre[1]) * this.scale];
  }

  draw() {
    if (!this.centre) return;
    const dots = this.items.map((one) => `M${this.line([one.place])}h0`).join("");
    this.svg.replaceChildren(
      ...(dots ? [makeSvg("path", { class: "dots", d: dots })] : []),
      ...this.paths.slice(1).map((path) => makeSvg("path", { class: "trail other", d: `M${this.line(path.slice(0, this.step))}` })),
      ...this.stations(),
      ...this.found.map((one) => this.numbered(one)),
      ...this.history.map((one, n) => this.square(one, n)),
      ...this.names.flatMap((label) => this.label(label)),
    );
  }

  line(points) {
    return points.map((point) => this.at(point).map((value) => value.toFixed(1)).join(" ")).join("L");
  }

  square(one, n) {
    const [x, y] = this.at(one.place);
    const opacity = 0.35 + (0.65 * (n + 1)) / this.history.length;
    return makeSvg("rect", { class: "history-dot", x: x - 4.5, y: y - 4.5, width: 9, height: 9, opacity });
  }

  /** First path up to the present step, with a dot for every step; the first dot is hollow. */
  stations() {
    const [path] = this.paths;
    if (!path) return [];
    const walked = path.slice(0, this.step);
    return [
      makeSvg("path", { class: "trail", d: `M${this.line(walked)}` }),
      ...walked.map((point, n) => {
        const [cx, cy] = this.at(point);
        const last = n === walked.length - 1;
        return makeSvg("circle", { class: n === 0 && !last ? "station start" : "station", cx, cy, r: last ? 5.5 : n === 0 ? 4 : 2 });
      }),
    ];
  }

  numbered(one) {
    const [x, y] = this.at(one.place);
    return makeSvg("g", { class: "found-dot", "data-item": one.item_id, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
      makeSvg("circle", { r: 9.5 }), makeSvg("text", {}, String(one.rank)));
  }

  /** The text of a label, and a line to its dot where it stands apart. */
  label({ item, kind, text, x, y, apart, at }) {
    return [
      ...(apart ? [makeSvg("path", { class: "leader", d: `M${at.map((one) => one.toFixed(1)).join(" ")}L${x.toFixed(1)} ${y.toFixed(1)}` })] : []),
      makeSvg("text", { class: `label ${kind}`, "data-item": item.item_id, x: x.toFixed(1), y: y.toFixed(1) }, text),
    ];
  }

  /** Highlight the dot of a recommended item, or none. */
  light(id) {
    for (const dot of this.svg.querySelectorAll(".found-dot, .label.of-found")) {
      const lit = dot.dataset.item === id;
      dot.classList.toggle("lit", lit);
      if (lit) this.svg.insertBefore(dot, dot.matches("g") ? this.svg.querySelector(".history-dot") : null);
    }
  }

  nearest(event) {
    if (!this.centre) return null;
    const box = this.svg.getBoundingClientRect();
    const [x, y] = [((event.clientX - box.left) * WIDTH) / box.width, ((event.clientY - box.top) * HEIGHT) / box.height];
    let [best, distance] = [null, REACH];
    for (const one of [...this.found, ...this.history, ...this.items]) {
      const [px, py] = this.at(one.place);
      const far = Math.hypot(px - x, py - y);
      if (far < distance) [best, distance] = [one, far];
    }
    return best;
  }

  name(item) {
    this.tip.hidden = item === null;
    this.svg.querySelector(".near")?.remove();
    if (item === null) return;
    const [x, y] = this.at(item.place);
    this.tip.textContent = item.title;
    this.tip.style.left = `${Math.min(84, Math.max(16, (100 * x) / WIDTH))}%`;
    this.tip.style.top = `${(100 * y) / HEIGHT}%`;
    this.svg.append(makeSvg("circle", { class: "near", cx: x, cy: y, r: 12 }));
  }
}

const least = (values) => values.reduce((one, other) => Math.min(one, other));
const most = (values) => values.reduce((one, other) => Math.max(one, other));
