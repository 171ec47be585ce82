// The page: the user builds a history; recommendations, map and explanations follow from it.

import { onKeyRequired, request } from "./api.js";
import { combobox } from "./combobox.js";
import { byId, debounced, make } from "./dom.js";
import { LatentMap } from "./map.js";
import { rows, waiting } from "./results.js";

const LENGTH = 10;
const SHOWN = matchMedia("(max-width: 720px)").matches ? 4 : 9; // number of newest history items that are listed
const PATHS = 8; // number of newest draws whose paths are drawn

const state = {
  history: [], // items, oldest first
  user: null, // user whose history was the start
  category: "",
  quota: 0, // largest number of items of each category; 0: any
  variety: 0, // strength of the re-ranking
  request: "", // wish in words
  guidance: 1, // weight of the wish
  refused: null, // {request, message} of a wish that the service could not read
  asked: null, // question that the list answers
  seeds: [], // noise draws since the history changed; empty: the default result
  counts: new Map(), // item id -> number of those draws that contain it
  events: { liked: null, disliked: null }, // kind or value of an event that says: liked, or disliked
  limits: { history: 1000 },
  explains: false,
};
const map = new LatentMap(byId("map"), byId("tip"), (item) => alike(item));
let current = new AbortController();
let playing = 0;
let walked = { key: "", paths: [] }; // newest denoising paths and what they belong to

// -- requests ---------------------------------------------------------------------------------------------

const recent = () => state.history.slice(-state.limits.history);

const isDenied = (one) => one.opinion === "disliked" && !state.events.disliked; // the model reads no dislikes

const ids = () => recent().filter((one) => !isDenied(one)).map((one) => one.item_id);

/** An event of the history as the service reads it: the item's id alone where nothing else is known. */
function event({ item_id, opinion, kind, value, time }) {
  const said = opinion ? state.events[opinion] : null;
  const known = { kind, value, time, ...said };
  const given = Object.entries(known).filter(([, one]) => one !== null && one !== undefined);
  return given.length ? { item_id, ...Object.fromEntries(given) } : item_id;
}

const isRefused = () => state.request !== "" && state.request === state.refused?.request;

const question = (more = {}) => ({
  history: recent().filter((one) => !isDenied(one)).map(event), k: LENGTH,
  ...(state.history.some(isDenied) ? { deny: state.history.filter(isDenied).map((one) => one.item_id) } : {}),
  ...(state.category ? { category: state.category } : {}),
  ...(state.quota ? { rules: [{ quota: { column: "category", at_most: state.quota } }] } : {}),
  ...(state.variety ? { rerank: "mmr", strength: state.variety } : {}),
  ...(state.request && !isRefused() ? { request: state.request, guidance: state.guidance } : {}),
  ...more,
});

const withoutWords = ({ request, guidance, ...rest }) => JSON.stringify(rest);

/** Request recommendations and paths; earlier requests are aborted. */
async function refresh(draw = {}) {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const asked = question(draw);
  const results = byId("results");
  results.setAttribute("aria-busy", "true");
  if (!byId("found").children.length) byId("found").replaceChildren(...waiting(6));
  try {
    const [answer, paths] = await Promise.all([
      request("/v1/recommendations", { body: asked, signal }), askPaths(signal),
    ]);
    failed(null);
    results.setAttribute("aria-busy", "false");
    results.classList.remove("stale");
    if (draw.samples) for (const { item_id } of answer.items) state.counts.set(item_id, (state.counts.get(item_id) ?? 0) + 1);
    state.asked = asked;
    showResults(answer);
    showMap(answer.items, paths);
  } catch (error) {
    if (error.name === "AbortError") return;
    results.setAttribute("aria-busy", "false");
    if (error.code === "invalid_request") return refuse(asked, error.message, draw);
    results.classList.add("stale"); // the list answers an earlier question
    failed(error, () => refresh(draw));
  }
}

/** Say at the text box why the wish could not be read. The list stays, unless the question differs in more than the wish. */
function refuse(asked, message, draw) {
  state.refused = { request: asked.request, message };
  failed(null);
  showUnderstood([]);
  if (state.asked === null || withoutWords(asked) !== withoutWords(state.asked)) refresh(draw);
  else byId("results").classList.remove("stale");
}

async function askPaths(signal) {
  if (!ids().length) return [];
  const seeds = state.seeds.length ? state.seeds.slice(-PATHS).reverse() : [0];
  const body = { history: ids(), seeds };
  const key = JSON.stringify(body);
  if (walked.key !== key) walked = { key, paths: (await request("/v1/path", { body, signal })).paths };
  return walked.paths;
}

/** Function that explains the items of the list that answers `asked`: the list is asked for once more, with reasons. */
function explainer({ samples, seed, ...asked }) {
  const ask = (more) => request("/v1/recommendations", { body: { ...asked, ...more, explain: true } });
  let list = null;
  return async (item) => {
    list ??= ask({}).catch((error) => {
      list = null;
      throw error;
    });
    const own = (await list).items.find((one) => one.item_id === item.item_id);
    return own ?? (await ask({ k: 1, allow: [item.item_id] })).items[0]; // the list of a redraw has other items
  };
}

async function alike(item) {
  const dialog = byId("alike");
  const list = dialog.querySelector(".found");
  byId("alike-title").textContent = `More like ${item.title}`;
  list.replaceChildren(...waiting(5));
  if (!dialog.open) dialog.showModal();
  try {
    const { items } = await request(`/v1/item/similar?k=8&item_id=${encodeURIComponent(item.item_id)}`);
    list.replaceChildren(...rows(items, { add: (one) => { dialog.close(); add(one); }, judge: (one, opinion) => { dialog.close(); judge(one, opinion); }, alike, explain: null, lit: () => {} }, { fromZero: true }));
  } catch (error) {
    list.replaceChildren(make("li", {}, make("span", {}), make("p", { class: "wrong" }, error.message)));
  }
}

// -- changes of the question ------------------------------------------------------------------------------------------

function changed(history, user = state.user) {
  Object.assign(state, { history, user: history.length ? user : null });
  showHistory();
  altered();
}

/** Show the list of the present question, without redraws. */
function altered() {
  Object.assign(state, { seeds: [], counts: new Map() });
  showControls();
  refresh();
}

const alteredSoon = debounced(altered, 300);

const add = (item) => changed([...state.history, item]);
const judge = (item, opinion) => changed([...state.history, { ...item, opinion }]);
const drop = (place) => changed(state.history.filter((_, n) => n !== place));

async function become(user) {
  try {
    changed((await request(`/v1/user/history?user_id=${encodeURIComponent(user)}`)).items, user);
    failed(null);
  } catch (error) {
    failed(error, () => become(user));
  }
}

function redraw() {
  const seed = Math.floor(Math.random() * 2 ** 31);
  state.seeds.push(seed);
  showControls();
  refresh({ samples: 1, seed });
}

function reset() {
  Object.assign(state, { category: "", quota: 0, variety: 0, request: "", guidance: 1, refused: null });
  byId("category").value = byId("quota").value = byId("request").value = "";
  byId("variety").value = 0;
  byId("guidance").value = 1;
  byId("results").focus({ preventScroll: true }); // the button disappears
  altered();
}

// -- display ---------------------------------------------------------------------------------------------

function showHistory() {
  const { history } = state;
  const first = Math.max(0, history.length - SHOWN);
  const newest = history.slice(first).map((item, n) => {
    const place = first + n;
    const fresh = 0.35 + (0.65 * (n + 1)) / (history.length - first);
    const said = item.opinion ?? item.event;
    return make("li", { "--fresh": fresh, class: item.opinion ?? "" },
      make("span", {}, item.title, said ? make("small", {}, said) : null),
      make("button", { type: "button", class: "icon", "aria-label": `Remove ${item.title}`, onclick: () => drop(place) }, "×"));
  });
  const more = first ? [make("li", { class: "more" }, `and ${first} older ${first === 1 ? "item" : "items"}`)] : [];
  const held = byId("history-items").contains(document.activeElement);
  byId("history-items").replaceChildren(...newest.reverse(), ...more);
  if (held) (byId("history-items").querySelector("button") ?? byId("title")).focus();
  byId("nothing").hidden = history.length > 0;
  byId("clear").hidden = !history.length;
  byId("whose").hidden = state.user === null;
  byId("whose").textContent = `Started with the history of user ${state.user}; newest first.`;
}

function showControls() {
  const { category, quota, variety, request: wish, guidance, seeds } = state;
  byId("guidance-field").hidden = !wish;
  byId("guidance-said").textContent = guidance;
  byId("variety-field").hidden = byId("redraw").hidden = !state.history.length; // popular items have one order
  byId("variety-said").textContent = variety;
  byId("settle").hidden = !(category || quota || variety || wish || seeds.length);
}

/** Show how the wish was understood, or why it could not be. */
function showUnderstood(lines) {
  const refused = isRefused();
  byId("request").setAttribute("aria-invalid", String(refused));
  byId("understood").hidden = refused || !lines.length;
  byId("understood").replaceChildren(...lines.map((line) => make("li", {}, line)));
  byId("refused").hidden = !refused;
  byId("refused").textContent = refused ? state.refused.message : "";
}

function showResults({ items, seconds, understood, notes }) {
  const draws = state.seeds.length ? { counts: state.counts, total: state.seeds.length } : null;
  const popular = items.length ? items[0].source === "popularity" : !state.history.length;
  const byWords = popular && understood.length > 0;
  byId("results-title").textContent = byWords ? "Found by your words" : popular ? "Most popular" : "Recommended next";
  byId("took").textContent = `${Math.max(1, Math.round(1000 * seconds.total))} ms`;
  const held = byId("found").contains(document.activeElement);
  byId("found").replaceChildren(...rows(items, { add, judge, alike, lit, explain: state.explains ? explainer(state.asked) : null }, { draws, fromZero: popular }));
  if (held) byId("results").focus({ preventScroll: true }); // its button is gone; continue at the start of the list
  byId("none").hidden = items.length > 0;
  byId("notes").hidden = !notes.length;
  byId("notes").replaceChildren(...notes.map((note) => make("li", {}, note)));
  showUnderstood(understood);
  byId("draws").hidden = !draws;
  if (draws) byId("draws").textContent = spread(draws, items);
  byId("said").textContent = `${items.length} ${byWords ? "items found by your words" : popular ? "popular items" : "recommendations"}, first ${items[0]?.title ?? "none"}`;
}

function spread({ counts, total }, items) {
  if (total === 1) return "One draw of noise. Redraw to see how much the result depends on it.";
  const always = items.filter((one) => counts.get(one.item_id) === total).length;
  return `${total} draws: ${counts.size} different items in total, ${always} of them in every draw.`;
}

function lit(item) {
  map.light(item?.item_id ?? null);
}

function showMap(found, paths) {
  const same = paths.length > 0 && paths === map.paths; // then the path is not played again
  if (!same) cancelAnimationFrame(playing);
  map.show({ history: recent().filter((one) => one.opinion !== "disliked").slice(-50), found, paths, step: same ? map.step : 1 });
  byId("step-row").hidden = !paths.length;
  byId("map-said").textContent = state.history.length
    ? `${found.length} results near the end of the denoising path, after ${state.history.length} items of history.`
    : `${found.length} items among the catalogue.`;
  if (same || !paths.length) return;
  byId("step").max = map.steps;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (still) return showStep(map.steps);
  const began = performance.now();
  const play = (now) => {
    const step = Math.min(map.steps, 1 + Math.floor(Math.max(0, now - began) / 45));
    showStep(step);
    if (step < map.steps) playing = requestAnimationFrame(play);
  };
  play(began);
}

function showStep(step) {
  byId("step").value = step;
  byId("step-said").textContent = `${step} of ${map.steps}`;
  map.show({ step });
}

/** Show an error and a button that calls `again`; hide it if `error` is null. */
function failed(error, again = null) {
  const box = byId("failure");
  box.hidden = error === null;
  if (error === null) return;
  box.querySelector("p").textContent = error.message;
  box.querySelector("button").onclick = again;
}

// -- start ---------------------------------------------------------------------------------------------

onKeyRequired((wrong) => new Promise((given) => {
  const door = byId("door");
  byId("door-wrong").hidden = !wrong;
  byId("key").value = "";
  if (!door.open) door.showModal();
  door.addEventListener("close", () => given(byId("key").value), { once: true });
}));

combobox(byId("title"), {
  none: "No title contains these words.",
  search: async (words) =>
    (await request(`/v1/items?limit=12&q=${encodeURIComponent(words)}`)).items.map((item) => ({
      label: item.title, note: item.categories[0] ?? "", value: item,
    })),
  choose: add,
});
combobox(byId("user"), {
  none: "No user id starts with this.",
  eager: true,
  search: async (words) =>
    (await request(`/v1/users?limit=12&q=${encodeURIComponent(words)}`)).users.map((user) => ({
      label: user.user_id, note: `${user.items} items`, value: user.user_id,
    })),
  choose: become,
});
byId("clear").addEventListener("click", () => changed([]));
byId("redraw").addEventListener("click", redraw);
byId("settle").addEventListener("click", reset);
byId("category").addEventListener("change", (event) => {
  state.category = event.target.value;
  altered();
});
byId("quota").addEventListener("change", (event) => {
  state.quota = Number(event.target.value);
  altered();
});
byId("request").addEventListener("input", (event) => {
  Object.assign(state, { request: event.target.value.trim(), refused: null });
  showControls();
  alteredSoon();
});
for (const name of ["guidance", "variety"]) {
  byId(name).addEventListener("input", (event) => {
    state[name] = Number(event.target.value);
    showControls();
    alteredSoon();
  });
}
byId("step").addEventListener("input", (event) => {
  cancelAnimationFrame(playing);
  showStep(Number(event.target.value));
});
byId("alike").querySelector(".icon").addEventListener("click", () => byId("alike").close());
byId("alike").addEventListener("click", (event) => {
  if (event.target === byId("alike")) byId("alike").close(); // the backdrop
});

async function begin() {
  try {
    const about = await request("/v1/model");
    byId("about").textContent =
      `${about.dataset}: ${about.items.toLocaleString("en")} items, ${about.users.toLocaleString("en")} users · run ${about.run}`;
    document.title = `DeftRec · ${about.dataset}`;
    Object.assign(state, { limits: about.limits, events: about.events, explains: about.capabilities.explain });
    byId("category").append(...about.categories.map((name) => make("option", { value: name }, name)));
    byId("category-field").hidden = byId("quota-field").hidden = about.categories.length < 2;
    byId("ask").hidden = !about.capabilities.requests;
    showControls();
    const [{ items, shares }] = await Promise.all([request("/v1/map"), refresh()]);
    byId("axes").textContent = `two main axes, ${Math.round(100 * (shares[0] + shares[1]))}% of the variance`;
    map.show({ items });
    failed(null);
  } catch (error) {
    failed(error, begin);
  }
}

begin();
