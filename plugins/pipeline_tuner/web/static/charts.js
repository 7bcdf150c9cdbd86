// Draws the page's charts: each is an element with `data-spec`, a Vega-Lite specification. Expressions in it are
// interpreted (`ast`), so that the page needs no eval.
const drawn = new Map();

async function draw(box) {
  const theme = document.documentElement.dataset.theme;
  const config = THEMES[theme] || THEMES.light;
  // On a narrow screen the names leave room for what they name.
  const names = { labelLimit: Math.min(config.axis.labelLimit, Math.round(0.4 * box.clientWidth)) };
  const options = {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, logLevel: 1,
    config: { ...config, axisY: names }, tooltip: { disableDefaultStyle: true },
  };
  drawn.get(box)?.finalize();
  drawn.set(box, await vegaEmbed(box, JSON.parse(box.dataset.spec), options));
  box.dataset.drawn = theme;
  dispatchEvent(new Event("chart-drawn"));
}

function drawAll() {
  for (const [box, chart] of drawn) {
    if (!box.isConnected) { chart.finalize(); drawn.delete(box); }
  }
  const theme = document.documentElement.dataset.theme;
  document.querySelectorAll("[data-spec]").forEach((box) => { if (box.dataset.drawn !== theme) draw(box); });
}

addEventListener("page-changed", drawAll);
drawAll();
