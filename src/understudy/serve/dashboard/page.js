"use strict";
const EVERY = 2000; // milliseconds between two questions
const SVG = "http://www.w3.org/2000/svg";
const OUTCOMES = {ship: "Ship", hold: "Hold", not_enough_evidence: "Not enough evidence", refused: "Refused", open: "Not yet decided"};
const TONES = {ship: "ship", hold: "hold", not_enough_evidence: "wait", refused: "refused", promote: "ship", install: "wait",
  override: "hold", rollback: "refused", canary: "wait"};
const MARKS = {ship: "✓", hold: "■", not_enough_evidence: "…", refused: "✗", open: "?"};
const KINDS = {promote: "Promoted", install: "Installed", override: "Made live without a proof", rollback: "Rolled back",
  live: "Traffic to the live policy alone", canary: "Canary", shadow: "Shadow", apprentice: "Apprentice", logging: "Logging only",
  hold: "Held", not_enough_evidence: "Not enough evidence", refused: "Refused"};
let key = "", shown = null, answered = 0;

// Words and figures

const at = id => document.getElementById(id);
const known = value => value !== null && value !== undefined && Number.isFinite(value);
const figure = (value, places = 3) => known(value) ? value.toFixed(places).replace("-", "−") : "–";
const signed = (value, places = 4) => known(value) ? (value > 0 ? "+" : "") + figure(value, places) : "–";
const percent = value => !known(value) ? "–" : value === 0 || value === 1 ? `${100 * value} %` : value < 0.0005 ? "< 0.05 %"
  : (100 * value).toFixed(value < 0.00995 ? 2 : 1) + " %";
const level = value => parseFloat((100 * value).toPrecision(4)) + " %";
const count = value => known(value) ? value.toLocaleString("en-US") : "–";
const short = id => !id ? "nobody" : id.length > 12 ? id.slice(0, 8) : id;
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

function moment(micros, seconds = false) {
  const time = new Date(micros / 1000), today = new Date().toDateString() === time.toDateString();
  const clock = time.toLocaleTimeString("en-GB", seconds ? {} : {hour: "2-digit", minute: "2-digit"});
  return today ? clock : time.toLocaleDateString("en-GB", {day: "numeric", month: "short"}) + ", " + clock;
}

function span(micros) {
  const s = Math.max(0, micros / 1e6);
  for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) if (s >= 2 * size) return plural(Math.round(s / size), unit);
  return s < 10 ? s.toFixed(1) + " seconds" : Math.round(s) + " seconds";
}

function name(policy) {
  if (!policy) return "nobody";
  if (policy.id === "logged") return "the policy that made the log";
  return policy.learner ? `${policy.learner} ${short(policy.id)}` : short(policy.id);
}

function actor(id) { // of a decision: one policy's id, a mixture's, or nobody's
  const mixture = /^([^+]*)\+(.*)@(.*)$/.exec(id);
  return mixture ? `${short(mixture[1])}, ${level(Number(mixture[3]))} ${short(mixture[2])}` : short(id) || "unknown";
}

// Document: text only ever enters as text

function make(tag, attributes, ...inside) {
  const node = document.createElement(tag);
  for (const [label, value] of Object.entries(attributes || {})) node.setAttribute(label, value);
  node.append(...inside.filter(part => part !== null && part !== undefined));
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [label, value] of Object.entries(attributes)) node.setAttribute(label, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const chip = (outcome, words) => make("span", {class: "chip " + (TONES[outcome] || "muted")}, words);
const facts = (id, rows) => at(id).replaceChildren(...rows.filter(Boolean).flatMap(([term, ...said]) => [make("dt", {}, term), make("dd", {}, ...said)]));
const note = (id, ...said) => at(id).replaceChildren(...said);

function table(id, head, rows) {
  const cell = (value, i, tag) => make(tag, {...(head[i].n ? {class: "n"} : {}), ...(tag === "th" ? {scope: "row"} : {})}, value);
  at(id).replaceChildren(
    make("thead", {}, make("tr", {}, ...head.map(h => make("th", {scope: "col", ...(h.n ? {class: "n"} : {})}, h.text)))),
    make("tbody", {}, ...rows.map(row => make("tr", {}, ...row.map((value, i) => cell(value, i, i ? "td" : "th"))))));
}

// Pictures

function sheet(id, height, told) {
  const width = Math.max(240, at(id).clientWidth);
  const svg = draw("svg", {viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": told});
  at(id).replaceChildren(svg);
  return [svg, width];
}

function steps(low, high, most) {
  const raw = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(raw));
  const size = [1, 2, 5, 10].map(s => s * power).find(s => s >= raw);
  const found = [];
  for (let t = Math.ceil(low / size - 1e-9); t * size <= high + 1e-9 * size; t++) found.push(t * size);
  return [found, Math.min(6, Math.max(0, -Math.floor(Math.log10(size) + 1e-9)))];
}

function axis(svg, box, low, high, sign) {
  const [ticks, places] = steps(low, high, 5);
  const y = v => box.bottom - (v - low) / (high - low) * (box.bottom - box.top);
  for (const tick of ticks) {
    svg.append(draw("line", {class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick)}),
      draw("text", {x: box.left - 8, y: y(tick) + 4, "text-anchor": "end"}, (sign && tick > 0 ? "+" : "") + figure(Math.abs(tick) < 1e-12 ? 0 : tick, places)));
  }
  return y;
}

function limits(values, least) {
  const real = values.filter(known), low = Math.min(...real), high = Math.max(...real);
  const pad = Math.max((high - low) * 0.08, (least - (high - low)) / 2, 0);
  return [low - pad, high + pad];
}

const path = points => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function rewardChart(r, range) {
  const points = r.points;
  if (points.length < 2) return at("reward-chart").replaceChildren();
  const first = points[0], last = points[points.length - 1];
  const told = `Mean reward of the last ${r.size} rewarded decisions, from ${figure(first.mean)} at ${moment(first.time, true)} to ${figure(last.mean)} at ${moment(last.time, true)}.`;
  const [svg, width] = sheet("reward-chart", 210, told);
  const box = {left: 46, right: width - 6, top: 12, bottom: 180};
  let [low, high] = limits(points.flatMap(p => [p.mean, p.low, p.high]), 0.02 * (range[1] - range[0]));
  [low, high] = [Math.max(low, range[0] - 0.01 * (range[1] - range[0])), Math.min(high, range[1] + 0.01 * (range[1] - range[0]))];
  const y = axis(svg, box, low, high, false);
  const x = t => box.left + (t - first.time) / (last.time - first.time || 1) * (box.right - box.left);
  const clamp = v => Math.min(high, Math.max(low, v));
  const banded = points.filter(p => known(p.low) && known(p.high));
  if (banded.length > 1) svg.append(draw("path", {class: "band", d: path([...banded.map(p => [x(p.time), y(clamp(p.high))]),
    ...banded.reverse().map(p => [x(p.time), y(clamp(p.low))])]) + "Z"}));
  for (const change of r.changes.filter(c => c.time >= first.time && c.time <= last.time)) {
    const line = draw("line", {class: "mark", x1: x(change.time), x2: x(change.time), y1: box.top - 6, y2: box.bottom});
    line.append(draw("title", {}, `${short(change.policy)} went live`));
    svg.append(line);
  }
  svg.append(draw("path", {class: "line", d: path(points.map(p => [x(p.time), y(p.mean)]))}));
  const ticks = width > 600 ? 4 : 2;
  for (let i = 0; i <= ticks; i++) {
    const t = first.time + (last.time - first.time) * i / ticks;
    svg.append(draw("text", {x: x(t), y: box.bottom + 20, "text-anchor": i === 0 ? "start" : i === ticks ? "end" : "middle"}, moment(t, last.time - first.time < 36e8)));
  }
  const readout = make("p", {class: "readout"}, "");
  at("reward-chart").append(readout);
  svg.addEventListener("pointermove", event => {
    const t = first.time + (event.offsetX - box.left) / (box.right - box.left) * (last.time - first.time);
    const p = points.reduce((a, b) => Math.abs(b.time - t) < Math.abs(a.time - t) ? b : a);
    readout.textContent = `${moment(p.time, true)}: ${figure(p.mean)} (${figure(p.low)} to ${figure(p.high)}), ${plural(p.n, "decision")}`;
  });
}

function spoke(svg, x, y, e, kind, shape) {
  if (!e || !known(e.value)) return;
  if (known(e.low) && known(e.high)) svg.append(draw("line", {class: `spoke ${kind}`, x1: x, x2: x, y1: y(e.low), y2: y(e.high)}));
  svg.append(shape === "circle" ? draw("circle", {class: kind, cx: x, cy: y(e.value), r: 3.6})
    : draw("rect", {class: kind, x: x - 3.2, y: y(e.value) - 3.2, width: 6.4, height: 6.4}));
}

function estimatesChart(all) {
  const width = Math.max(240, at("estimates-chart").clientWidth);
  const rows = all.slice(-Math.max(4, Math.floor((width - 60) / 30)));
  const lifts = rows.map(r => known(r.mean) ? {value: r.mean, low: r.low, high: r.high} : null);
  const valued = rows.some(r => (r.new && known(r.new.value)) || (r.hosted && known(r.hosted.value)));
  if (!rows.length) return at("estimates-chart").replaceChildren();
  const last = rows[rows.length - 1];
  const told = `${rows.length} looks. The last: ${OUTCOMES[last.outcome]}, lift ${signed(last.mean)} (${signed(last.low)} to ${signed(last.high)}).`;
  const top = valued ? 170 : 0;
  const [svg] = sheet("estimates-chart", top + 196, told);
  const x = i => 58 + (i + 0.5) * (width - 66) / rows.length;
  const box = (start, stop) => ({left: 52, right: width - 6, top: start, bottom: stop});
  if (valued) {
    svg.append(draw("text", {x: 0, y: 12}, "value: ● trained  ■ hosted"));
    const [low, high] = limits(rows.flatMap(r => [r.new, r.hosted]).filter(Boolean).flatMap(e => [e.value, e.low, e.high]), 0.01);
    const y = axis(svg, box(24, top - 14), low, high, false);
    rows.forEach((r, i) => { spoke(svg, x(i) - 4, y, r.hosted, "hosted", "square"); spoke(svg, x(i) + 4, y, r.new, "new", "circle"); });
  }
  svg.append(draw("text", {x: 0, y: top + 12}, "difference, trained − hosted"));
  if (lifts.some(Boolean)) {
    const [low, high] = limits(lifts.filter(Boolean).flatMap(e => [e.value, e.low, e.high]).concat(0), 0.002);
    const y = axis(svg, box(top + 24, top + 150), low, high, true);
    svg.append(draw("line", {class: "zero", x1: 52, x2: width - 6, y1: y(0), y2: y(0)}));
    lifts.forEach((e, i) => spoke(svg, x(i), y, e, "new", "circle"));
  }
  rows.forEach((r, i) => {
    const mark = draw("text", {class: TONES[r.outcome] || "", x: x(i), y: top + 170, "text-anchor": "middle"}, MARKS[r.outcome]);
    mark.append(draw("title", {}, `Look ${r.look}: ${OUTCOMES[r.outcome]}`));
    svg.append(mark, draw("text", {x: x(i), y: top + 190, "text-anchor": "middle"}, rows.length > 20 && i % 5 ? "" : r.look));
  });
}

function spark(shares, told) {
  const svg = draw("svg", {viewBox: "0 0 100 20", height: 20, preserveAspectRatio: "none", role: "img", "aria-label": told});
  const top = Math.max(0.05, ...shares.filter(known));
  if (shares.length > 1) svg.append(draw("path", {class: "line", "vector-effect": "non-scaling-stroke",
    d: path(shares.map((s, i) => [100 * i / (shares.length - 1), 18 - 16 * (s || 0) / top]))}));
  return svg;
}

function histogram(h) {
  const most = Math.max(...h.counts, 1), total = h.counts.reduce((a, b) => a + b, 0);
  const told = "Logged propensities: " + h.counts.map((n, i) => `${plural(n, "decision")} ${i ? "from " + label(h.edges[i]) : "below"} ${i ? "to" : ""} ${label(h.edges[i + 1])}`).join("; ") + ".";
  const [svg, width] = sheet("propensity-chart", 118, total ? told : "No propensity was logged.");
  const cell = (width - 8) / h.counts.length;
  h.counts.forEach((n, i) => {
    const tall = n ? Math.max(2, 70 * n / most) : 0;
    svg.append(draw("rect", {class: "bar", x: 4 + i * cell + 2, width: cell - 4, y: 90 - tall, height: tall}));
    if (n) svg.append(draw("text", {x: 4 + (i + 0.5) * cell, y: 84 - tall, "text-anchor": "middle"}, percent(n / total)));
  });
  svg.append(draw("line", {class: "grid", x1: 4, x2: width - 4, y1: 90.5, y2: 90.5}));
  h.edges.forEach((edge, i) => { if (Number.isInteger(edge)) svg.append(draw("text", {x: 4 + i * cell, y: 108,
    "text-anchor": i === 0 ? "start" : i === h.edges.length - 1 ? "end" : "middle"}, i === 0 ? "less" : label(edge))); });
}

const label = power => parseFloat((10 ** power).toPrecision(1)).toString();

// The page

function headline(d) {
  const s = d.service, t = d.traffic, v = s.verdict;
  document.title = `${d.application}: ${name(s.policy)}`;
  at("application").textContent = d.application;
  at("headline").textContent = t.mode === "logging" ? "Logging only: callers decide." : t.mode === "apprentice" ? "Apprentice: the baseline acts."
    : !s.policy || s.policy.id === "logged" ? "Nobody is live: every allowed action alike." : `${name(s.policy)} is in service.`;
  const parts = [];
  if (s.policy && s.policy.id !== "logged") parts.push(`Since ${moment(s.since)}.`);
  if (v && known(v.mean)) parts.push(v.low > 0 ? `When it was judged it earned ${figure(v.mean, 4)} more per decision than the policy before it; at ${level(v.level)} confidence at least ${figure(v.low, 4)} more.`
    : `When it was judged, the difference from the policy before it was ${signed(v.mean)}.`);
  else if (s.kind === "override") parts.push("It was made live without a proof.");
  if (t.mode === "canary") parts.push(t.kept ? `${name(t.candidate)}, the policy before it, keeps ${level(t.share)} of the traffic to watch it by.`
    : `${name(t.candidate)} is on trial with ${level(t.share)} of the traffic.`);
  if (t.mode === "shadow" || (t.mode === "apprentice" && t.candidate)) parts.push(`${name(t.candidate)} is asked and not obeyed.`);
  at("story").textContent = parts.join(" ");
}

function service(d) {
  const s = d.service, p = s.policy, v = s.verdict;
  facts("service", [
    ["Policy", p ? make("code", {}, p.id) : "nobody"],
    p && p.learner ? ["Learner", p.learner + (p.settings ? `: ${p.settings}` : "")] : null,
    p && known(p.rows) ? ["Trained on", plural(p.rows, "decision")] : null,
    s.since ? ["Since", `${moment(s.since, true)}, ${span(d.now - s.since)} ago`] : null,
    ["How", chip(s.kind, KINDS[s.kind] || "Nobody was ever made live"), s.reason && s.kind !== "nobody" ? `: ${s.reason}` : ""],
    v ? ["Verdict", chip(v.outcome, `${MARKS[v.outcome]} ${OUTCOMES[v.outcome]}`), ` in look ${v.look}, ${moment(v.time)}`]
      : ["Verdict", "none: it was never judged against another"],
    v && known(v.low) ? ["Proven", `at least ${signed(v.low)} (${level(v.level)} bound), estimate ${signed(v.mean)}`] : null,
    v && v.reason ? ["Reason", v.reason] : null,
  ]);
  const t = d.traffic;
  facts("traffic", [
    ["Mode", chip(t.mode, {live: "Live", canary: "Canary", shadow: "Shadow", apprentice: "Apprentice", logging: "Logging only"}[t.mode])],
    t.candidate ? ["Candidate", make("code", {}, t.candidate.id), t.candidate.learner ? ` ${t.candidate.learner}` : ""] : null,
    t.mode === "canary" ? ["Share", `${level(t.share)} of decisions, by an exact mixture`] : null,
    t.since ? ["Since", moment(t.since, true)] : null,
    t.reason ? ["Why", t.reason] : null,
  ]);
  table("acted", [{text: "policy"}, {text: "decisions", n: 1}, {text: "share", n: 1}, {text: "mean reward", n: 1}],
    d.policies.map(p => [actor(p.policy), count(p.n), percent(p.share), figure(p.mean)]));
}

function reward(d) {
  const r = d.rewards, now = r.latest, all = r.all;
  if (!now) note("reward-now", "No reward has arrived yet.");
  else note("reward-now", make("b", {id: "reward-latest"}, figure(now.mean)), known(now.low) ? `${figure(now.low)} to ${figure(now.high)}, ` : "", `last ${plural(now.n, "rewarded decision")}`);
  note("reward-note", `${level(r.level)} interval at each point: ${r.method}. `
    + (all ? `Over the ${plural(all.n, "rewarded decision")} kept here: ${figure(all.mean)} (${figure(all.low)} to ${figure(all.high)}). ` : "")
    + (r.waiting ? `${plural(r.waiting, "decision")} without a reward so far ${r.waiting === 1 ? "is" : "are"} not in it. ` : "")
    + (r.changes.length ? `Dotted: another policy went live (${r.changes.map(c => short(c.policy)).join(", ")}).` : ""));
  rewardChart(r, d.problem.range);
  table("reward-table", [{text: "up to"}, {text: "decisions", n: 1}, {text: "mean", n: 1}, {text: "low", n: 1}, {text: "high", n: 1}],
    [...r.points].reverse().map(p => [moment(p.time, true), count(p.n), figure(p.mean), figure(p.low), figure(p.high)]));
}

function estimates(d) {
  const rows = d.estimates;
  note("estimates-note", rows.length ? "Each look held a newly trained policy against the one in service, on the same events. A line is an interval; the difference's is valid at every look. Below: ✓ shipped, ■ held, … not enough evidence, ✗ refused; the look's number."
    : "No candidate has been judged under this alias yet.");
  estimatesChart(rows);
  const value = e => e && known(e.value) ? `${figure(e.value)} (${figure(e.low)} to ${figure(e.high)})` : "–";
  table("estimates-table", [{text: "look"}, {text: "at"}, {text: "trained"}, {text: "hosted"}, {text: "value of trained", n: 1}, {text: "value of hosted", n: 1},
    {text: "difference", n: 1}, {text: "verdict"}],
    [...rows].reverse().map(r => [String(r.look), moment(r.time), name(r.candidate), name(r.incumbent), value(r.new), value(r.hosted),
      known(r.mean) ? `${signed(r.mean)} (${signed(r.low)} to ${signed(r.high)})` : "–", chip(r.outcome, OUTCOMES[r.outcome])]));
}

function actions(d) {
  const a = d.actions;
  note("actions-note", `Of the last ${plural(d.window.decisions, "decision")}. Expected: the mean of the logged probabilities; a curve spans that time, each to its own height.`);
  const rows = a.rows.map((row, i) => [row.name, spark(a.points.map(p => p.shares[i]), `${row.name}: share over time, now ${percent(row.share)}`), percent(row.share), percent(row.expected)]);
  if (a.others.kinds) rows.push([plural(a.others.kinds, "other"), "", percent(a.others.share), ""]);
  table("actions", [{text: "action"}, {text: "over time"}, {text: "share", n: 1}, {text: "expected", n: 1}], rows);
  for (const row of at("actions").querySelectorAll("tr")) if (row.children[1]) row.children[1].classList.add("spark");
}

function propensity(d) {
  const p = d.propensity, w = p.weight, a = p.agreement;
  note("propensity-note", "With what probability the action was chosen that was taken: estimates divide by it.");
  histogram(p.histogram);
  facts("propensity", [
    ["Smallest", known(p.min) ? `${parseFloat(p.min.toPrecision(3))} (median ${parseFloat(p.median.toPrecision(3))})` : "–"],
    w ? ["Mean weight", chip(w.p < 0.001 ? "refused" : "ship", figure(w.mean)), `, should be 1 ± ${figure(w.std_error)}`] : null,
    a ? ["Drawn as logged", chip(a.p < 0.001 ? "refused" : "ship", a.p < 0.001 ? `no, p = ${a.p.toExponential(1)}` : "yes"), a.p < 0.001 ? "" : `, p = ${a.p.toPrecision(2)}`] : null,
    ["Fallbacks", chip(p.fallbacks.n ? "hold" : "ship", p.fallbacks.n ? `${count(p.fallbacks.n)}, ${percent(p.fallbacks.share)}` : "none")],
    ...p.fallbacks.reasons.map(r => ["", `${count(r.n)} × ${r.reason}`]),
    p.missing ? ["Not logged", plural(p.missing, "decision")] : null,
  ]);
}

function lag(d) {
  const l = d.lag;
  note("lag-note", l.behind ? "This page is still reading; figures follow in a moment." : "What was written down and has not been put to use yet.");
  facts("lag", [
    ["Written", plural(l.written, "event")],
    ["Not exported", plural(l.waiting, "event") + (l.exported ? "" : ": no join has read this log yet")],
    ["Oldest of them", l.oldest ? `${span(d.now - l.oldest)} ago` : "–"],
    ["Unrewarded", plural(l.unrewarded, "decision") + (l.oldest_unrewarded ? `, the oldest ${span(d.now - l.oldest_unrewarded)} ago` : "")],
    d.window.deferred ? ["Not activated", plural(d.window.deferred, "deferred decision")] : null,
    ["Kept here", `${plural(d.window.decisions, "decision")} of at most ${count(d.window.limit)}`],
    l.strays ? ["Of older ones", `${plural(l.strays, "outcome")} for decisions not kept here`] : null,
  ]);
}

function history(d) {
  at("history").replaceChildren(...d.history.map(h => make("li", {},
    make("time", {datetime: new Date(h.time / 1000).toISOString()}, moment(h.time)),
    chip(h.kind, KINDS[h.kind] || h.kind), h.policy ? ` ${short(h.policy)}` : "", h.kind === "canary" ? `, ${level(h.share)}` : "",
    h.look ? ` (look ${h.look})` : "", h.times > 1 ? ` and ${h.times - 1} before it` : "",
    h.reason ? make("p", {}, h.reason) : null)));
  if (!d.history.length) at("history").replaceChildren(make("li", {}, "Nothing yet."));
}

function show(d) {
  shown = d;
  at("figures").hidden = false;
  for (const part of [headline, service, reward, estimates, actions, propensity, lag, history]) part(d);
  at("foot").textContent = `Problem ${d.problem.hash}: reward ${d.problem.reward}, from ${d.problem.range[0]} to ${d.problem.range[1]}, ${plural(d.problem.actions, "action")}.`;
  document.documentElement.dataset.ready = "yes";
}

function pulse(words, late) {
  document.body.classList.toggle("late", late);
  if (at("pulse").textContent !== words) at("pulse").textContent = words;
}

async function ask() {
  const used = key;
  try {
    const reply = await fetch("dashboard/data.json", {headers: used ? {authorization: `Bearer ${used}`} : {}, cache: "no-store"});
    if (used !== key) return; // another key was given meanwhile, and is being asked with
    if (reply.status === 401 || reply.status === 403) {
      at("door").hidden = false;
      at("figures").hidden = true;
      pulse(used ? "this key may not read" : "a key is needed", true);
      key = "";
      return;
    }
    if (!reply.ok) throw new Error(`the service answered ${reply.status}`);
    const data = await reply.json();
    answered = Date.now();
    at("door").hidden = true;
    pulse("live, every 2 seconds", false);
    show(data);
  } catch (error) {
    const since = answered ? `; these figures are of ${new Date(answered).toLocaleTimeString("en-GB")}` : "";
    pulse(`${error instanceof TypeError ? "no answer" : error.message}${since}`, true);
  }
  setTimeout(ask, EVERY);
}

at("door").addEventListener("submit", event => {
  event.preventDefault();
  key = at("key").value.trim();
  at("key").value = "";
  ask();
});
let resized = 0;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => shown && show(shown), 150); });
ask();
