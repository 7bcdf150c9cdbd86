// Follows Airflow's light or dark theme, and refreshes the live part of a running sweep. The page works without it.
(function () {
  function follow() {
    let chosen = null;
    try { chosen = localStorage.getItem("theme"); } catch { /* storage may be closed in a sandbox */ }
    const dark = chosen ? chosen.includes("dark") : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    dispatchEvent(new Event("page-changed"));
  }
  follow();
  addEventListener("storage", follow);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);

  // The script that draws charts comes with the first chart; from then on it is told when there may be new ones.
  let charts = null;
  function showCharts() {
    if (!charts && document.querySelector("[data-spec]")) {
      charts = document.createElement("script");
      charts.src = document.documentElement.dataset.charts;
      document.head.append(charts);
    }
    dispatchEvent(new Event("page-changed"));
  }

  // Live updates. A part of the page is an element with an id and `data-part`; while one says `data-live`, the page is
  // fetched again and the parts that differ are swapped. A part with a form in it stays, whatever was filled in.
  const LOOK_AGAIN_MS = 3000;
  let served = new Map();
  const partsOf = (page) => [...page.querySelectorAll("[data-part][id]")];
  const textsOf = (page) => new Map(partsOf(page).map((part) => [part.id, part.outerHTML]));

  function swap(part, fresh) {
    const details = [...part.querySelectorAll("details")].map((one) => one.open);
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    fresh.hidden = part.hidden;
    part.replaceWith(fresh);
    fresh.querySelectorAll("details").forEach((one, place) => { one.open = details[place] ?? one.open; });
    if (focused) [...fresh.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  }

  async function refresh() {
    const live = document.querySelector("[data-live]");
    if (!live) return;
    try {
      const answer = await fetch(location.href, { headers: { "X-Requested-With": "page.js", Accept: "text/html" } });
      if (live.dataset.live === "page") {
        if (answer.ok && (answer.redirected || !(await answer.text()).includes('data-live="page"'))) location.reload();
        return;
      }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const texts = textsOf(fresh);
      for (const next of partsOf(fresh)) {
        const part = document.getElementById(next.id);
        const isSame = served.get(next.id) === texts.get(next.id);
        if (part && !isSame && !part.querySelector("form")) swap(part, document.adoptNode(next));
      }
      served = texts;
      showCharts();
    } catch { /* the server is away for a moment: the next look finds it */
    } finally {
      if (document.querySelector("[data-live]")) setTimeout(refresh, LOOK_AGAIN_MS);
    }
  }
  addEventListener("DOMContentLoaded", () => {
    served = textsOf(document);
    showCharts();
    setTimeout(refresh, LOOK_AGAIN_MS);
  });

  // Tables: a click on a head sorts, words filter. Both stand in the address, so that a link or a reload keeps them.
  const remember = (name, value) => {
    const here = new URL(location.href);
    if (value) here.searchParams.set(name, value); else here.searchParams.delete(name);
    history.replaceState(null, "", here);
  };
  const valueOf = (cell) => {
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  };
  const compared = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
    : typeof a === typeof b ? a.localeCompare(b) : typeof a === "number" ? -1 : 1;

  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [valueOf(row.cells[column]), row]);
    rows.sort(([a], [b]) => a === "" || b === "" ? (a === "") - (b === "") : descending ? compared(b, a) : compared(a, b));
    body.append(...rows.map(([, row]) => row));
    [...table.tHead.rows[0].cells].forEach((head) => head.removeAttribute("aria-sort"));
    table.tHead.rows[0].cells[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  }

  function filter(table, words) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
  }

  function dress(table) {
    const asked = new URL(location.href).searchParams;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if ("plain" in head.dataset) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.ariaSort ? head.ariaSort === "ascending" : head.classList.contains("number");
        sort(table, column, descending);
        remember("by", `${column}${descending ? "d" : ""}`);
      });
    });
    const by = /^(\d+)(d?)$/.exec(asked.get("by") || "");
    if (by && Number(by[1]) < table.tHead.rows[0].cells.length) sort(table, Number(by[1]), by[2] === "d");
    const field = document.querySelector(`[data-filters="${table.id}"]`);
    if (!field) return;
    field.value = asked.get("filter") || "";
    filter(table, field.value);
    field.addEventListener("input", () => { filter(table, field.value); remember("filter", field.value); });
    field.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  }
  addEventListener("DOMContentLoaded", () => document.querySelectorAll("table[data-sortable]").forEach(dress));

  // What a choice would change is said before: the words beside the form follow it.
  addEventListener("change", (event) => {
    const { says, now } = event.target.dataset ?? {};
    const said = document.getElementById(says);
    if (!said) return;
    said.textContent = event.target.value;
    document.getElementById(`${says}-other`).hidden = event.target.value === now;
    document.getElementById(`${says}-same`).hidden = event.target.value !== now;
  });

  // What scrolls sideways can be reached by the keyboard, too.
  function reachScrolling() {
    for (const box of document.querySelectorAll(".scroll, .across, .analysis, .chart, pre")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute("tabindex");
    }
  }
  for (const moment of ["DOMContentLoaded", "resize", "page-changed", "chart-drawn"]) addEventListener(moment, reachScrolling);
  addEventListener("toggle", reachScrolling, true);

  // Inside Airflow this page is a sandboxed frame that can't navigate its parent; the parent's own link can.
  addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || parent === window) return;
    event.preventDefault();
    const outer = parent.document.createElement("a");
    outer.href = link.href;
    parent.document.body.append(outer);
    outer.click();
    outer.remove();
  });
})();
