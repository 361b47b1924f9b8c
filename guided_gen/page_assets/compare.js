// Two candidates side by side, of one search or of two; the differences are found by jsdiff (diff.min.js).
let searches = [...data.searches];

function compare() {
  for (const [side, place] of [["left", 0], ["right", 1]]) {
    const select = $(`${side}-search`);
    select.replaceChildren(...searches.map((one, i) => option(one.title || "a search", i)));
    select.value = Math.max(searches.indexOf(search), 0);
    select.disabled = searches.length < 2;
    select.onchange = () => { candidatesOf(side, 0); differences(); };
    $(`${side}-candidate`).onchange = differences;
    candidatesOf(side, place);
  }
  differences();
}

function option(text, value) {
  const element = made("option", text);
  element.value = value;
  return element;
}

function candidatesOf(side, place) {
  const one = prepared(searches[Number($(`${side}-search`).value)]);
  $(`${side}-candidate`).replaceChildren(...one.candidates.map((candidate, i) => option(`#${candidate.number}: ${verdict(candidate)}, ${candidate.path.length} tokens`, i)));
  $(`${side}-candidate`).value = Math.min(place, one.candidates.length - 1);
}

function differences() {
  const sides = ["left", "right"].map((side) => {
    const one = searches[Number($(`${side}-search`).value)];
    return { one, candidate: one.candidates[Number($(`${side}-candidate`).value)] };
  });
  if (sides.some((side) => !side.candidate)) return;
  facts(sides);
  const [left, right] = sides.map((side) => `${side.candidate.program.trimEnd()}\n`);
  $("same").textContent = left === right ? "The programs are equal." : "";
  $("diff-box").hidden = !left.trim() && !right.trim();
  $("diff").tBodies[0].replaceChildren(...pairs(Diff.diffLines(left, right)).map(difference));
}

// A row a fact, of both searches and both candidates.
function facts(sides) {
  const told = [
    ["Verdict", ({ candidate }) => verdict(candidate)],
    ["Probability", ({ candidate }) => percent(candidate.likelihood?.probability)],
    ["Score", ({ candidate }) => shown(candidate.score)],
    ["Tokens", ({ candidate }) => candidate.path.length],
    ["Ended", ({ candidate }) => candidate.ended],
    ["Policy", ({ one }) => one.about.policy ?? "–"],
    ["Candidates", ({ one }) => one.candidates.reduce((sum, candidate) => sum + candidate.times, 0)],
    ["Of them passed", ({ one }) => one.candidates.reduce((sum, candidate) => sum + (candidate.verdict === "passed" ? candidate.times : 0), 0)],
    ["All tokens", ({ one }) => one.about["decoded tokens"]],
    ["Seconds", ({ one }) => one.about.seconds ?? "–"],
  ];
  $("facts").replaceChildren(...told.map(([name, of]) => {
    const row = made("tr"), [left, right] = sides.map(of);
    row.append(made("th", name), made("td", left), made("td", right));
    row.classList.toggle("differs", left !== right);
    return row;
  }));
}

// jsdiff's parts as pairs of lines, null where one side has none.
function pairs(parts) {
  const rows = [];
  let left = [], right = [];
  const flush = () => {
    for (let i = 0; i < Math.max(left.length, right.length); i++) rows.push([left[i] ?? null, right[i] ?? null, true]);
    left = [];
    right = [];
  };
  for (const part of parts) {
    const lines = part.value.replace(/\n$/, "").split("\n");
    if (part.removed) left.push(...lines);
    else if (part.added) right.push(...lines);
    else { flush(); rows.push(...lines.map((line) => [line, line, false])); }
  }
  flush();
  return rows;
}

function difference([left, right, differs]) {
  const row = made("tr");
  const words = differs && left !== null && right !== null ? Diff.diffWordsWithSpace(left, right) : null;
  for (const [text, side] of [[left, "removed"], [right, "added"]]) {
    const cell = made("td", words ? null : (text ?? ""), differs ? (text === null ? "none" : side) : "");
    if (words) cell.append(...words.filter((word) => word[side] || !(word.added || word.removed)).map((word) => made("span", word.value, word[side] ? "word" : "")));
    row.append(cell);
  }
  return row;
}
