// Live updates, and the reading under the pointer. Every page works without this.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const LONGEST_FETCH_MS = 30000;
const MINUTE_MS = 60000;
const OLD_AFTER_MS = 2.5 * MINUTE_MS; // two fetches in a row failed
const FOCUSABLE = "a, button, summary, .scroll";
let waiting = false;
let shownText = document.querySelector("main")?.innerHTML; // as the server sent it
let shownAt = Date.now(); // the values are of this time

// The server says that there is something new: fetch this page again and replace its content.
async function refresh() {
  if (waiting) return;
  waiting = true;
  const askedAt = Date.now();
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" }, credentials: "same-origin", signal: AbortSignal.timeout(LONGEST_FETCH_MS),
    });
    if (answer.status === 401) location.reload(); // signed out, or the view link was revoked: show the form
    if (answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html"); // the text may never arrive
    const fresh = page.querySelector("body[data-live] > main"); // also one that says what is wrong; not one of the network
    const shown = document.querySelector("main");
    if (!fresh || !shown) return;
    shownAt = askedAt;
    warnIfOld();
    if (shown.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) return;
    if (fresh.innerHTML === shownText) return;
    shownText = fresh.innerHTML;
    const open = [...shown.querySelectorAll("details")].map((each) => each.open);
    const places = [...shown.querySelectorAll(".scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
    const focused = [...shown.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
    shown.replaceChildren(...fresh.childNodes);
    shown.querySelectorAll("details").forEach((each, place) => { each.open = Boolean(open[place]); });
    shown.querySelectorAll(".scroll").forEach((each, place) => { each.scrollTo(...(places[place] ?? [0, 0])); });
    if (focused >= 0) [...shown.querySelectorAll(FOCUSABLE)][focused]?.focus({ preventScroll: true });
    follow();
  } catch {
    // offline: the next message or minute tries again
  } finally {
    waiting = false;
  }
}

function shownForMs() {
  if (Date.now() < shownAt) shownAt = 0; // the clock was set back: nobody knows how old the values are
  return Date.now() - shownAt;
}

// A page that cannot fetch itself must not look as if its values were of now.
function warnIfOld() {
  document.getElementById("unconnected").hidden = shownForMs() < OLD_AFTER_MS;
}

// Each chart shows the time and value of the reading that is nearest to the pointer.
function follow() {
  for (const lane of document.querySelectorAll("[data-readings]")) {
    const chart = lane.closest("svg");
    const readings = lane.dataset.readings.split("|").map((each) => {
      const [x, y, ...words] = each.split(" ");
      return { x: Number(x), y: Number(y), words: words.join(" ") };
    });
    const line = document.createElementNS(SVG, "line");
    const label = document.createElementNS(SVG, "text");
    line.setAttribute("class", "cursor");
    label.setAttribute("class", "cursor-label");
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const width = chart.viewBox.baseVal.width;
      const x = (event.clientX - box.left) / box.width * width;
      const near = readings.reduce((best, each) => Math.abs(each.x - x) < Math.abs(best.x - x) ? each : best);
      line.setAttribute("x1", near.x);
      line.setAttribute("x2", near.x);
      line.setAttribute("y1", lane.dataset.top);
      line.setAttribute("y2", lane.dataset.bottom);
      label.textContent = near.words;
      label.setAttribute("x", near.x + (near.x > width * 0.7 ? -6 : 6));
      label.setAttribute("text-anchor", near.x > width * 0.7 ? "end" : "start");
      label.setAttribute("y", Number(lane.dataset.top) + 14);
      chart.append(line, label);
    });
    chart.addEventListener("pointerleave", () => { line.remove(); label.remove(); });
  }
}

// A browser opens six connections to one server. Tabs that nobody sees must not use them up.
function listen() {
  const hidden = document.visibilityState === "hidden";
  if (hidden) news?.close();
  if (!hidden && news?.readyState !== EventSource.OPEN && news?.readyState !== EventSource.CONNECTING) {
    news = new EventSource(live);
    news.onmessage = refresh;
  }
}

follow();
let news = null;
const live = document.body.dataset.live;
if (live) {
  listen();
  setInterval(refresh, MINUTE_MS); // ages grow also when nothing new comes
  setInterval(warnIfOld, MINUTE_MS / 6);
  for (const back of ["visibilitychange", "pageshow", "online"]) {
    (back === "visibilitychange" ? document : window).addEventListener(back, () => {
      listen();
      if (document.visibilityState === "hidden") return;
      warnIfOld(); // a phone stops the timers of a hidden page
      if (shownForMs() > MINUTE_MS / 6) refresh();
    });
  }
}
