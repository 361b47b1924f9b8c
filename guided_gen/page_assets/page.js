"use strict";
// What the other scripts share. Everything from the data is written as text (textContent), never as markup.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function made(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function button(text, action) {
  const element = made("button", text);
  element.type = "button";
  element.onclick = action;
  return element;
}

function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const shown = (score) => (score === null || score === undefined ? "–" : score.toFixed(3));
const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(0)}%`);
// Green above a half, red below; readable behind text in light and in dark.
const colour = (score) => (score === null ? "" : `hsl(${Math.round(score * 120)} 70% 50% / ${0.12 + 0.3 * Math.abs(score - 0.5)})`);

// A picture with ticks and labels on both axes; `svg` is as wide as `xMost`, and 100 high whatever `yMost` is.
function axes(box, svg, xMost, xLabel, yMost, yLabel) {
  svg.setAttribute("viewBox", `0 0 ${xMost} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  const x = made("div", undefined, "x"), y = made("div", undefined, "y");
  for (const [axis, most, side] of [[x, xMost, "left"], [y, yMost, "bottom"]]) {
    for (const tick of ticks(most)) {
      if (axis === x && tick > 0.8 * most) continue; // there stands the axis's name
      const label = made("span", tick);
      label.style[side] = `${(100 * tick) / most}%`;
      axis.append(label);
    }
  }
  const grid = ticks(yMost).map((tick) => drawn("line", { x1: 0, x2: xMost, y1: 100 - (100 * tick) / yMost, y2: 100 - (100 * tick) / yMost }));
  svg.replaceChildren(...grid);
  box.replaceChildren(made("span", yLabel, "name"), y, svg, x, made("span", xLabel, "name below"));
}

// At most 6 round numbers from 0 to `most`.
function ticks(most) {
  const unit = 10 ** Math.floor(Math.log10(most / 5));
  const step = [1, 2, 5, 10].map((times) => times * unit).find((size) => most / size <= 5);
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

const MARKS = { pruned: "bad", stopped: "bad", cut: "faint", forked: "accent", begun: "accent", complete: "good", passes: "good", fails: "bad" };

// Tokens over time, with a mark for each decision: rows of [seconds, tokens, live, decisions].
function timeLine(box, rows) {
  const [seconds, tokens] = rows.length ? rows[rows.length - 1] : [0, 0];
  const svg = drawn("svg", { role: "img", "aria-label": `${tokens} tokens in ${seconds} seconds` });
  axes(box, svg, Math.max(seconds, 0.1), "seconds", Math.max(tokens, 1), "tokens");
  const height = (count) => (100 - (100 * count) / Math.max(tokens, 1)).toFixed(2);
  svg.append(drawn("path", { d: `M0 100${rows.map((row) => `L${row[0]} ${height(row[1])}`).join("")}` }));
  const kinds = new Map();
  for (const [at, , , decisions] of rows) {
    for (const [what, count] of decisions) {
      const mark = drawn("line", { x1: at, x2: at, y1: 0, y2: 100, class: `mark ${MARKS[what]}` });
      mark.append(drawn("title", {}));
      mark.firstChild.textContent = `${count} ${what} after ${at} s`;
      svg.append(mark);
      kinds.set(what, (kinds.get(what) ?? 0) + count);
    }
  }
  const legend = made("p", undefined, "legend");
  legend.append(...[...kinds].map(([what, count]) => made("span", `${count} ${what}`, MARKS[what])));
  box.append(legend);
}

$("theme").onclick = () => {
  const root = document.documentElement, dark = root.classList.contains("dark") || (!root.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
  root.className = dark ? "light" : "dark";
};
