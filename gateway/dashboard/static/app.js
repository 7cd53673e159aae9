// Keeps pages current and saves some typing. Every page works without it.
"use strict";

const CALM_MS = 15000;
const BUSY_MS = 3000;

function say(text, wrong = false) {
  const place = document.querySelector("[data-live-state]");
  if (!place) return;
  place.classList.toggle("wrong", wrong);
  if (place.textContent !== text) place.textContent = text;
}

const NO_ANSWER = "The gateway does not answer at the moment. What is shown may be old, and what runs "
  + "goes on. It is tried again by itself.";

const NOT_RENEWED = "This page is not brought up to date any more. Load it again to see how things stand.";

function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

// The viewer's own time zone.
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
    }
  }
}

function prepare(root) {
  localise(root);
  for (const button of root.querySelectorAll("[data-copy], [data-copy-text]")) button.hidden = false;
}

async function copy(button) {
  const text = button.dataset.copyText || document.getElementById(button.dataset.copy).textContent;
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = copyOldWay(text); // browsers give the clipboard to https: pages only
  }
  if (button.dataset.was === undefined) button.dataset.was = button.innerHTML;
  button.textContent = done ? "Copied" : "Select and copy it";
  say(done ? "Copied" : "It could not be copied");
  clearTimeout(button.timer);
  button.timer = setTimeout(() => { button.innerHTML = button.dataset.was; say(""); }, 2000);
}

function copyOldWay(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

// What each place was last sent: not what it holds, which has been prepared since.
const served = new WeakMap();

// Values change in place; what somebody is using is left alone.
function refresh(from) {
  document.title = from.title;
  for (const place of document.querySelectorAll("[data-live][id]")) {
    const young = from.getElementById(place.id);
    if (!young || young.innerHTML === served.get(place)) continue;
    if (inUse(place)) {
      for (const row of place.querySelectorAll("tr[id]")) renewRow(row, from.getElementById(row.id));
      continue;
    }
    served.set(place, young.innerHTML);
    place.innerHTML = young.innerHTML;
    prepare(place);
  }
  renew(from);
  const pane = document.querySelector("[data-pane]");
  const young = from.querySelector("[data-pane]");
  if (pane && young && pane.dataset.running === "1") follow(pane, young);
  news(from);
}

function inUse(place) {
  return place.contains(document.activeElement) || place.querySelector("details[open]") !== null;
}

// Around what is in use, the other cells of a table may change.
function renewRow(row, young) {
  if (!young || young.cells.length !== row.cells.length) return;
  for (const [place, cell] of [...row.cells].entries()) {
    const other = young.cells[place];
    if (other.innerHTML === cell.innerHTML || inUse(cell)) continue;
    cell.innerHTML = other.innerHTML;
    prepare(cell);
  }
}

function renew(from) {
  for (const card of document.querySelectorAll("[data-card]")) {
    const young = from.getElementById(card.id);
    const link = card.firstElementChild;
    if (!young || !link) continue;
    swap(link, young.firstElementChild, ".about");
    const media = link.querySelector(".media");
    if (media && !media.querySelector("img, video")) swap(link, young.firstElementChild, ".media");
  }
}

// A card that runs leaves the list when newer ones push it on, or when it has ended and the filter
// asks for what runs: it is asked for by itself, and stays where it is.
async function renewMissing(from) {
  const gallery = document.querySelector("[data-cards]");
  if (!gallery) return;
  const missing = [...gallery.querySelectorAll("[data-card]")]
    .filter((card) => card.querySelector(".status-running") && !from.getElementById(card.id));
  if (!missing.length) return;
  const ids = missing.map((card) => card.id.slice("card-".length));
  const answer = await fetch(`${gallery.dataset.cards}?ids=${ids.map(encodeURIComponent).join(",")}`, {
    headers: { accept: "text/html" }, cache: "no-store",
  });
  if (answer.status >= 500) throw new Error(String(answer.status));
  if (!answer.ok || answer.redirected) return; // what has ended, the next poll finds out
  const cards = parse(await answer.text());
  renew(cards);
  for (const card of missing) {
    // Nobody knows it any more, or it is no longer the viewer's to see.
    if (!cards.getElementById(card.id) && !card.contains(document.activeElement)) card.remove();
  }
}

// What is open and still runs: part by part, so that nobody loses their place in it.
function follow(pane, young) {
  let whole = true;
  for (const part of pane.querySelectorAll("[data-part]")) {
    const other = young.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!other || other.innerHTML === part.innerHTML) continue;
    const playing = [...part.querySelectorAll("audio, video")].some((media) => !media.paused);
    if (playing || part.contains(document.activeElement)) {
      whole = false;
      continue;
    }
    part.innerHTML = other.innerHTML;
    prepare(part);
  }
  if (whole && young.dataset.running !== "1") {
    pane.dataset.running = "0";
    said = pane.querySelector('[data-part="status"]').textContent.trim();
  }
}

function swap(old, young, selector) {
  const one = old.querySelector(selector);
  const other = young && young.querySelector(selector);
  if (one && other && one.innerHTML !== other.innerHTML) {
    one.innerHTML = other.innerHTML;
    localise(one);
  }
}

// Lists do not jump: what is new is announced, and shown when asked for.
function news(from) {
  const chip = document.querySelector("[data-news]");
  if (!chip || !document.querySelector("[data-gallery][data-first]")) return;
  const fresh = [...from.querySelectorAll("[data-card]")].filter((card) => !document.getElementById(card.id));
  const known = document.querySelector("[data-card]");
  const order = [...from.querySelectorAll("[data-card]")].map((card) => card.id);
  const place = known ? order.indexOf(known.id) : -1;
  const count = place < 0 ? fresh.length : fresh.filter((card) => order.indexOf(card.id) < place).length;
  chip.hidden = count === 0;
  const text = `${count} new`;
  if (count && chip.textContent !== text) {
    chip.textContent = text;
    said = `${text} in the list`;
  }
}

let said = "";
let polling = null;
function later() {
  clearTimeout(polling);
  if (!document.querySelector("[data-live], [data-gallery]")) return;
  // Whoever looks at what happens now wants to see it begin, too.
  const busy = document.title.startsWith("(") || document.querySelector(".status-running, #now");
  polling = setTimeout(poll, busy && !document.hidden ? BUSY_MS : CALM_MS);
}

async function poll() {
  // Out of sight, only the count in the tab's title is worth asking for.
  if (!document.hidden || document.title.startsWith("(")) {
    const address = location.href;
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname.endsWith("/sign-in")) {
        location.assign(answer.url); // the session has ended: it says so, and leads back here
        return;
      }
      if (answer.status >= 500) throw new Error(String(answer.status));
      if (answer.ok) {
        const from = parse(await answer.text());
        said = "";
        if (address === location.href) {
          refresh(from);
          await renewMissing(from);
        }
        say(said);
      } else {
        say(NOT_RENEWED, true); // it does answer: what is shown is gone, or no longer the viewer's
      }
    } catch {
      say(NO_ANSWER, true);
    }
  }
  later();
}

// A card opens beside the list without losing one's place in it.
async function show(address, push) {
  let from;
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, cache: "no-store" });
    if (!answer.ok || answer.redirected) {
      location.assign(answer.redirected ? answer.url : address);
      return;
    }
    from = parse(await answer.text());
  } catch {
    say(NO_ANSWER, true);
    return;
  }
  say("");
  const place = document.getElementById("pane");
  const young = from.getElementById("pane");
  if (!place || !young) {
    location.assign(address);
    return;
  }
  if (push) history.pushState({ pane: true }, "", address);
  document.title = from.title;
  place.innerHTML = young.innerHTML;
  prepare(place);
  document.getElementById("browser").classList.toggle("open", place.querySelector("[data-pane]") !== null);
  const id = new URL(address, location.href).searchParams.get("id");
  let opened = null;
  for (const card of document.querySelectorAll("[data-card]")) {
    const selected = card.id === `card-${id}`;
    if (card.classList.contains("selected") && !selected) opened = card;
    card.classList.toggle("selected", selected);
    const link = card.firstElementChild;
    if (selected) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const films = place.querySelectorAll("video");
  if (push && films.length === 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
    films[0].play().catch(() => {}); // the browser may want another click
  }
  const title = document.getElementById("pane-title");
  if (title) {
    title.focus({ preventScroll: true });
    if (matchMedia("(max-width: 999px)").matches) place.scrollIntoView();
  } else if (opened) {
    opened.firstElementChild.focus();
  }
  later();
}

document.addEventListener("click", (event) => {
  const copier = event.target.closest("[data-copy], [data-copy-text]");
  if (copier) {
    copy(copier);
    return;
  }
  if (event.target.closest("[data-news]")) {
    location.reload();
    return;
  }
  const link = event.target.closest("a[data-open], a[data-close]");
  const plain = !event.defaultPrevented && event.button === 0
    && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (link && plain) {
    event.preventDefault();
    show(link.href, true);
  }
});

document.addEventListener("formdata", (event) => {
  if (!event.target.matches("form.filters")) return;
  // Empty filters have no place in the address.
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  const asking = event.target.closest("details.confirm[open]");
  if (asking) {
    asking.open = false;
    asking.querySelector("summary").focus();
    return;
  }
  const close = document.querySelector("[data-close]");
  if (close) close.click();
});

window.addEventListener("popstate", () => {
  if (document.getElementById("pane")) show(location.href, false);
});

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });

const zone = document.querySelector("[data-zone]");
if (zone) zone.textContent = `; exact times are shown for ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
// The answer to a form stands at the form's address: loading that again would send it again.
const shownOnce = document.querySelector("[data-here]");
if (shownOnce) history.replaceState(history.state, "", shownOnce.dataset.here);
for (const place of document.querySelectorAll("[data-live][id]")) served.set(place, place.innerHTML);
prepare(document);
later();
