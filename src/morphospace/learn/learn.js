"use strict";
// Answers, predictions and progress, kept in this browser under one key; light and dark.
{
  const KEY = "morphospace/learn", VERSION = 1;
  const status = document.getElementById("status");
  const say = (text) => { status.textContent = text; };
  const plain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const text = (value) => typeof value === "string" && value.length < 500;

  // -- the store: { version, answers: { name: { first, last, tries, right } }, predictions: { name: text } }
  let writable = true;
  let store = { version: VERSION, answers: {}, predictions: {} };

  // What of a text is progress; null if it is none.
  function progress(content) {
    let found;
    try { found = JSON.parse(content); } catch { return null; }
    if (!plain(found) || !Number.isInteger(found.version)) return null;
    const kept = { version: found.version, answers: {}, predictions: {} };
    for (const [name, one] of Object.entries(plain(found.answers) ? found.answers : {})) {
      if (plain(one) && text(one.first) && text(one.last)) kept.answers[name] = { first: one.first, last: one.last, tries: Number(one.tries) || 1, right: one.right === true };
    }
    for (const [name, one] of Object.entries(plain(found.predictions) ? found.predictions : {})) if (text(one)) kept.predictions[name] = one;
    return kept;
  }

  function load() {
    let content = null;
    try { content = localStorage.getItem(KEY); } catch { writable = false; }
    if (content === null) return;
    const found = progress(content);
    if (found && found.version > VERSION) {
      writable = false; // a newer page wrote it: it is read as far as it is understood, and not touched
      store = { ...found, version: VERSION };
      say("Your progress was kept by a newer version of these lessons. It is not changed here.");
    } else if (found) store = { ...found, version: VERSION };
    else {
      try { localStorage.setItem(`${KEY}/unreadable`, content); } catch { /* there is no room for it */ }
      say("The progress kept in this browser could not be read. You begin anew; the old text is kept beside it.");
    }
  }

  function save() {
    if (!writable) return;
    try { localStorage.setItem(KEY, JSON.stringify(store)); } catch { writable = false; say("This browser keeps nothing for this page: your progress ends with it."); }
  }

  // -- questions
  function ask(form) {
    const { name } = form.dataset, inputs = [...form.querySelectorAll("input")], said = form.querySelector(".said"), predicts = form.classList.contains("predict");
    const show = (input, aloud) => {
      input.checked = true;
      for (const one of inputs) { const why = one.closest(".option").querySelector(".why"); if (why) why.hidden = one !== input; }
      if (predicts) {
        if (aloud) said.textContent = "Noted. Now see what happens.";
        quote(name, input.value);
        return;
      }
      const right = "right" in input.dataset;
      form.dataset.state = right ? "right" : "wrong";
      if (aloud) said.textContent = right ? "Right." : "Not this one. Read why, and choose again.";
    };
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => {
      const input = event.target;
      if (predicts) store.predictions[name] = input.value;
      else {
        const before = store.answers[name];
        store.answers[name] = { first: before?.first ?? input.value, last: input.value, tries: (before?.tries || 0) + 1, right: before?.right || "right" in input.dataset };
      }
      save();
      show(input, true);
      score();
    });
    const kept = predicts ? store.predictions[name] : store.answers[name]?.last, input = inputs.find((one) => one.value === kept);
    if (input) show(input, false);
  }

  function quote(name, answer) {
    for (const place of document.querySelectorAll(".after")) {
      if (place.dataset.after !== name) continue;
      const words = place.querySelector(".quoted");
      words.hidden = false;
      place.closest(".simulation").dataset.predicted = "";
      words.textContent = `You predicted: ${answer.replace(/[$`*]/g, "")}`;
    }
  }

  function score() {
    for (const place of document.querySelectorAll("[data-score]")) {
      const names = place.dataset.score.split(" ").filter(Boolean), answered = names.filter((name) => store.answers[name]), right = names.filter((name) => store.answers[name]?.right);
      if (!names.length || (!answered.length && place.tagName !== "P")) continue;
      place.hidden = false;
      place.textContent = place.tagName === "P" ? `${right.length} of ${names.length} questions answered right.` : ` · ${right.length} of ${names.length} answered right`;
    }
  }

  // The preset's sentence says what will be seen: it waits for the prediction, or for who does not want to make one.
  for (const details of document.querySelectorAll(".after details")) details.addEventListener("toggle", () => { details.closest(".simulation").dataset.predicted = ""; });

  // -- all of it: save, load, reset
  function manage() {
    const place = document.getElementById("progress");
    if (!place) return;
    place.hidden = false;
    document.getElementById("export").onclick = () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([JSON.stringify(store, null, 1)], { type: "application/json" }));
      link.download = "morphospace-learn.json";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    };
    document.getElementById("import").onchange = async (event) => {
      const [file] = event.target.files, found = file && file.size < 1e6 ? progress(await file.text()) : null;
      if (!found || found.version > VERSION) { say("This file holds no progress that these lessons can read."); return; }
      store = { ...found, version: VERSION };
      save();
      score();
      say("Your progress was loaded.");
    };
    const reset = document.getElementById("reset");
    reset.onclick = () => {
      if (!reset.dataset.sure) { reset.dataset.sure = "1"; reset.textContent = "Reset: forget all answers?"; return; }
      store = { version: VERSION, answers: {}, predictions: {} };
      writable = true;
      save();
      location.reload();
    };
  }

  // -- light and dark
  function theme() {
    const toggle = document.getElementById("theme"), root = document.documentElement;
    const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const show = () => { toggle.textContent = dark() ? "Light" : "Dark"; };
    try { const kept = localStorage.getItem("theme"); if (kept === "dark" || kept === "light") root.dataset.theme = kept; } catch { /* as the system has it */ }
    toggle.hidden = false;
    toggle.onclick = () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* until the page is left */ }
      show();
      dispatchEvent(new Event("themed"));
    };
    show();
  }

  theme();
  load();
  for (const form of document.querySelectorAll("form[data-name]")) ask(form);
  score();
  manage();
}
