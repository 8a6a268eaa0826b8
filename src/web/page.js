// Small comforts. Every page works without this file.
"use strict";

for (const element of document.querySelectorAll("[data-js]")) element.hidden = false;

// Copy buttons. The clipboard proper is only there under TLS; the older way works everywhere.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    button.textContent = (await copy(button.previousElementSibling)) ? "Copied" : "Select it";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

// Whoever corrects an answer has read what was wrong with it.
for (const input of document.querySelectorAll("[aria-invalid]")) {
  input.addEventListener("input", () => {
    input.removeAttribute("aria-invalid");
    document.getElementById(`${input.id}-problem`)?.remove();
  }, { once: true });
}

const show = document.querySelector("[data-show]");
show?.addEventListener("change", () => {
  for (const input of document.querySelectorAll("input[autocomplete=new-password]")) {
    input.type = show.checked ? "text" : "password";
  }
});

const zone = document.querySelector("[data-zone]");
if (zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";

const domain = document.getElementById("domain.name");
const suggest = () => {
  const name = domain.value.trim().toLowerCase();
  document.getElementById("box.hostname").placeholder = `mail.${name || "example.org"}`;
};
if (domain) {
  suggest();
  domain.addEventListener("input", suggest);
}

// One press is enough: a change takes some seconds on a small board.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    if (form.getAttribute("aria-busy")) event.preventDefault();
    form.setAttribute("aria-busy", "true");
  });
}

// A page that the browser kept for its back button is asked anew when it is pressed again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form")) form.removeAttribute("aria-busy");
});

// The state of the box is asked for anew every minute, while the box answers and nobody reads what
// was unfolded.
if (document.querySelector("[data-again]")) {
  setInterval(async () => {
    if (document.querySelector("details[open]")) return;
    const answer = await fetch("/icon.svg", { method: "HEAD" }).catch(() => null);
    if (answer?.ok) location.reload();
  }, 60_000);
}

// The panel: the light follows its timeline, the rest is asked for every two seconds.
const bulb = document.querySelector("[data-bulb]");
if (bulb) {
  let timeline = [];
  const wait = (time) => new Promise((done) => setTimeout(done, time));
  (async function blink() {
    for (;;) {
      if (!timeline.length) await wait(200);
      for (const [on, off] of timeline) {
        bulb.classList.toggle("lit", on > 0);
        await wait(on);
        if (off > 0) bulb.classList.remove("lit");
        await wait(Math.max(off, on ? 0 : 200));
      }
    }
  })();
  (async function follow() {
    for (;;) {
      try {
        const answer = await fetch("/board.json");
        if (answer.ok) {
          const view = await answer.json();
          timeline = view.timeline;
          document.querySelector("[data-word]").textContent = view.word;
          const lines = view.lines.map((text) => {
            const item = document.createElement("li");
            item.textContent = text;
            return item;
          });
          document.querySelector("[data-lines]").replaceChildren(...lines);
          document.querySelector("[data-display]").src = `/board.png?${Date.now()}`;
        }
      } catch {
        document.querySelector("[data-word]").textContent = "The box does not answer";
      }
      await wait(2000);
    }
  })();
}
