// Follows Airflow's light or dark theme, and refreshes the live part of a running sweep. The page works without it.
(function () {
  function follow() {
    let chosen = null;
    try { chosen = localStorage.getItem("theme"); } catch { /* storage may be closed in a sandbox */ }
    const dark = chosen ? chosen.includes("dark") : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }
  follow();
  addEventListener("storage", follow);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);

  async function refresh() {
    const live = document.querySelector("[data-live]");
    if (!live) return;
    try {
      const answer = await fetch(location.href, { headers: { "X-Requested-With": "page.js" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const part = fresh.querySelector("main");
        if (part) document.querySelector("main").replaceWith(part);
      }
    } finally {
      if (document.querySelector("[data-live]")) setTimeout(refresh, 3000);
    }
  }
  addEventListener("DOMContentLoaded", () => setTimeout(refresh, 3000));

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
