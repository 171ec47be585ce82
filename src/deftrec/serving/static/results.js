// Rows of recommended items with rank, title, score, explanation and buttons.

import { make, makeSvg } from "./dom.js";

const MEANINGS = {
  latent: "the model's reading of the history",
  collaborative_prior: "items that the same people choose",
  popularity_trend: "popular lately",
  request: "your words",
  text_match: "preference in words",
}; // of the parts of the score, whose names are those of the API and the command line
const termName = (name) => name.replaceAll("_", " ");

/** Length of each bar, 0.06 to 1: relative to zero if `fromZero`, else to the lowest score of the list. */
function strengths(items, fromZero) {
  const scores = items.map((one) => one.score);
  const [low, high] = [fromZero ? 0 : Math.min(...scores), Math.max(...scores)];
  return scores.map((score) => (high > low ? 0.06 + (0.94 * Math.max(0, score - low)) / (high - low) : 1));
}

/**
 * Rows of a list. `actions`: add(item), judge(item, "liked" or "disliked"), alike(item), explain(item), which resolves to the item with its explanation and
 * rules, or null, lit(item or null); `draws`: total number of noise draws and the count of each item in them; `fromZero`: scores are counts, so bars start at zero.
 */
export function rows(items, actions, { draws = null, fromZero = false } = {}) {
  const shares = strengths(items, fromZero);
  return items.map((item, n) => row(item, shares[n], actions, draws));
}

function row(item, share, actions, draws) {
  const why = make("div", { class: "why", hidden: true });
  const score = item.source === "popularity" ? `${item.score.toLocaleString("en")} interactions` : item.score.toFixed(2);
  const often = draws?.total > 1 ? ` · in ${draws.counts.get(item.item_id)} of ${draws.total} draws` : "";
  return make(
    "li",
    {
      "data-item": item.item_id,
      onmouseenter: () => actions.lit(item), onmouseleave: () => actions.lit(null),
      onfocusin: () => actions.lit(item), onfocusout: () => actions.lit(null),
    },
    make("span", { class: "rank" }, String(item.rank)),
    make(
      "div",
      {},
      make("div", { class: "name" }, item.title),
      item.categories.length ? make("div", { class: "kinds" }, item.categories.join(", ")) : null,
      make("div", { class: "strength" },
        make("span", { class: "bar" }, make("i", { "--share": `${100 * share}%` })),
        make("span", {}, `${score}${often}`),
        make("span", { class: "asks" },
          actions.explain && item.source === "deftrec" ? whyButton(item, why, actions) : null,
          make("button", { type: "button", class: "plain", "aria-label": `More like ${item.title}`, onclick: () => actions.alike(item) }, "More like this"))),
    ),
    make("div", { class: "actions" },
      make("button", { type: "button", "aria-label": `Add ${item.title}`, onclick: () => actions.add(item) }, "Add"),
      make("span", { class: "thumbs" },
        thumb(item, actions, "liked", "Like", "M2 10h3v10H2zM7 20V9l4-7c2 0 2.500 1.500 2 3.500L12 9h7a2 2 0 0 1 2 2.500l-2 7A2 2 0 0 1 17 20z"),
        thumb(item, actions, "disliked", "Dislike", "M2 4h3v10H2zM7 4v11l4 7c2 0 2.500-1.500 2-3.500L12 15h7a2 2 0 0 0 2-2.500l-2-7A2 2 0 0 0 17 4z"))),
    why,
  );
}

function thumb(item, actions, opinion, verb, path) {
  const icon = makeSvg("svg", { viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": "true" }, makeSvg("path", { d: path, fill: "currentColor" }));
  return make("button", {
    type: "button", class: "icon", title: `${verb} it`, "aria-label": `${verb} ${item.title}`, onclick: () => actions.judge(item, opinion),
  }, icon);
}

function whyButton(item, why, actions) {
  const button = make("button", {
    type: "button", class: "plain", "aria-expanded": "false", "aria-label": `Why ${item.title}`,
    onclick: async () => {
      const open = why.hidden;
      why.hidden = !open;
      button.setAttribute("aria-expanded", String(open));
      if (!open || why.dataset.known) return;
      why.replaceChildren(make("span", { class: "wait" }), make("span", { class: "wait short" }));
      try {
        why.replaceChildren(...reasons(await actions.explain(item)));
        why.dataset.known = "yes";
      } catch (error) {
        why.replaceChildren(make("p", { class: "wrong" }, error.message));
      }
    },
  }, "Why?");
  return button;
}

function reasons({ explanation, rules }) {
  const parts = [];
  if (rules.length) parts.push(make("p", { class: "rules" }, `Rules: ${rules.join("; ")}`));
  if (explanation.text) parts.push(make("p", {}, "Preference in the model’s words: ", make("q", {}, explanation.text)));
  const influences = explanation.influences.filter((one) => one.change > 0);
  if (influences.length) {
    const most = Math.max(...influences.map((one) => one.change));
    parts.push(
      make("p", { class: "soft" }, "Items of the history with the largest influence"),
      make("ul", {}, ...influences.map((one) =>
        make("li", {}, one.event ? `${one.title} (${one.event})` : one.title, make("span", { class: "bar", title: `+${one.change.toFixed(2)}` },
          make("i", { "--share": `${(100 * one.change) / most}%` }))))),
    );
  } else parts.push(make("p", { class: "soft" }, "No single item of the history raised its score."));
  const shares = Object.entries(explanation.shares).filter(([, share]) => share > 0.005);
  if (shares.length) {
    parts.push(
      make("p", { class: "soft" }, "Share of each part of the score"),
      make("div", { class: "shares", role: "img", "aria-label": shares.map(([name, share]) => `${termName(name)} ${percent(share)}`).join(", ") },
        ...shares.map(([name, share]) => make("i", { class: name, "--share": percent(share) }))),
      make("ul", { class: "parts" }, ...shares.map(([name, share]) => make("li", { title: MEANINGS[name] ?? "" }, make("i", { class: name }), `${termName(name)} ${percent(share)}`))),
    );
  }
  return parts;
}

const percent = (share) => `${Math.round(100 * share)}%`;

/** Placeholder rows. */
export function waiting(count) {
  return Array.from({ length: count }, () =>
    make("li", { "aria-hidden": "true" }, make("span", {}), make("div", {}, make("span", { class: "wait" }), make("span", { class: "wait short" }))));
}
