// The page is whole without this script: it adds the crosshair, and tells the browser which language is shown.
"use strict";
(() => {
  const chinese = () => document.getElementById("lang-zh").checked;
  const say = (en, zh) => (chinese() ? zh : en);
  const speak = () => { document.documentElement.lang = say("en", "zh-Hans"); };
  for (const input of document.querySelectorAll("input[name=lang]")) input.addEventListener("change", speak);
  speak();

  const ROLES = {
    planned: ["planned", "计划"], intended: ["meant", "本意"], applied: ["applied", "使用"], smooth: ["", ""], evaluation: ["evaluation", "评估"],
  };
  const range = (element, name) => element.dataset[name].split(" ").map(Number);
  const short = (v) => {
    const size = Math.abs(v);
    if (size >= 1e6) return (v / 1e6).toPrecision(4) + "M";
    if (size >= 1e4) return Math.round(v).toLocaleString("en");
    return size && size < 1e-2 ? v.toExponential(2).replace("+", "") : String(+v.toPrecision(4));
  };
  const rate = (v) => (v === 0 || v >= 1e-2 ? String(+v.toPrecision(3)) : v.toExponential(2).replace(/\.?0+e/, "e"));

  // A path is "M x y l dx dy …" in whole coordinates, 0…2000 across and 0…4000 down.
  const read = (path) => {
    if (path.points) return path.points;
    const n = path.getAttribute("d").match(/-?\d+/g).map(Number);
    const points = [[n[0], n[1]]];
    for (let i = 2; i < n.length; i += 2) points.push([points.at(-1)[0] + n[i], points.at(-1)[1] + n[i + 1]]);
    return (path.points = points);
  };
  const height = (points, x) => {
    if (x < points[0][0] - 12 || x > points.at(-1)[0] + 12) return null;
    let low = 0, high = points.length - 1;
    while (high - low > 1) { const mid = (low + high) >> 1; if (points[mid][0] <= x) low = mid; else high = mid; }
    const [a, b] = [points[low], points[high]];
    const part = b[0] > a[0] ? Math.min(Math.max((x - a[0]) / (b[0] - a[0]), 0), 1) : 0;
    return a[1] + (b[1] - a[1]) * part;
  };
  const shown = (element) => getComputedStyle(element).display !== "none";
  const runOf = (element) => (/\br(\d+)\b/.exec(element.getAttribute("class")) || [])[1];
  const nameOf = (run, frame) => {
    const b = document.querySelector("#chip" + run + " bdi") || frame.closest("figure").querySelector(".legend .r" + run + " bdi");
    return b ? b.textContent : "";
  };

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const row = (run, text, value) => {
    const div = document.createElement("div");
    if (run !== undefined) { div.className = "r" + run; div.append(document.createElement("i")); }
    for (const part of [text, value]) { const span = document.createElement("span"); span.textContent = part; div.append(span); }
    tip.append(div);
  };

  const frames = [...document.querySelectorAll("[data-x]")].map((frame) => ({
    frame, plot: frame.querySelector(".plot"), cross: frame.querySelector(".cross"), x: range(frame, "x"), log: "logx" in frame.dataset,
  }));
  const place = (f, u) => (f.log ? Math.log(u / f.x[0]) / Math.log(f.x[1] / f.x[0]) : (u - f.x[0]) / (f.x[1] - f.x[0]));
  const updateAt = (f, at) => Math.round(f.log ? f.x[0] * Math.pow(f.x[1] / f.x[0], at) : f.x[0] + at * (f.x[1] - f.x[0]));
  const cross = (update) => {
    for (const f of frames) {
      const at = update === null ? -1 : place(f, update);
      const inside = at >= 0 && at <= 1;
      f.cross.setAttribute("visibility", inside ? "visible" : "hidden");
      if (inside) for (const end of ["x1", "x2"]) f.cross.setAttribute(end, at * 100 + "%");
    }
  };
  const lines = (f, at) => {
    const y = range(f.frame, "y"), log = "logy" in f.frame.dataset, write = "rate" in f.frame.dataset ? rate : short;
    for (const path of f.frame.querySelectorAll(".lines path")) {
      const role = ROLES[path.classList[0]], run = runOf(path);
      const v = role && shown(path) ? height(read(path), at * 2000) : null;
      if (v === null) continue;
      const part = 1 - v / 4000;
      const value = log ? y[0] * Math.pow(y[1] / y[0], part) : y[0] + (y[1] - y[0]) * part;
      row(run, [nameOf(run, f.frame), say(role[0], role[1])].filter(Boolean).join(" · "), write(value));
    }
  };
  const layer = (f, event, box) => {
    const names = f.frame.dataset.rows.split("\n"), bounds = range(f.frame.closest("[data-bounds]"), "bounds");
    const index = Math.min(names.length - 1, Math.floor((event.clientY - box.top) / box.height * names.length));
    const level = /\bh(\d)\b/.exec(event.target.getAttribute("class") || "");
    row(runOf(f.frame), names[Math.max(0, index)], level ? short(bounds[+level[1]]) + "–" + short(bounds[+level[1] + 1]) : "–");
  };
  for (const f of frames) {
    f.plot.addEventListener("pointermove", (event) => {
      const box = f.plot.getBoundingClientRect();
      const at = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      const update = updateAt(f, at);
      cross(update);
      tip.replaceChildren();
      const title = document.createElement("b");
      title.textContent = say("update ", "更新步 ") + update.toLocaleString("en");
      tip.append(title);
      if (f.frame.dataset.rows === undefined) lines(f, at); else layer(f, event, box);
      tip.hidden = false;
      const left = event.clientX + 16 + tip.offsetWidth > innerWidth ? event.clientX - 16 - tip.offsetWidth : event.clientX + 16;
      tip.style.left = Math.max(4, left) + "px";
      tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 6) + "px";
    });
    f.plot.addEventListener("pointerleave", () => { tip.hidden = true; cross(null); });
  }
})();
