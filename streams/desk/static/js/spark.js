// Small charts on a canvas. The colours come from the page's style, so that they fit light and dark.

const WINDOW_S = 300;
let colours = null;

export function forgetColours() {
  colours = null;
}

export function palette() {
  if (!colours) {
    const probe = document.body.appendChild(document.createElement("span"));
    const of = (name) => {
      probe.style.color = `var(${name})`; // a property's own text may be light-dark(), which no canvas knows
      return getComputedStyle(probe).color;
    };
    colours = { line: of("--accent"), bad: of("--bad"), warn: of("--warn"), good: of("--good"), grid: of("--line"), text: of("--dim") };
    probe.remove();
  }
  return colours;
}

/** Draw a score over the last five minutes: 0 at the bottom, 1 at the top. */
export function sparkline(canvas, steps, nowMs) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const { line, bad, warn, grid } = palette();
  context.clearRect(0, 0, width, height);
  context.fillStyle = grid;
  context.fillRect(0, Math.round(height * 0.25), width, 1); // the usual breaker, at 0.75
  if (!steps.length) return;
  const from = nowMs / 1000 - WINDOW_S;
  const highest = Math.max(...steps.map(([, value]) => value));
  context.strokeStyle = highest >= 0.85 ? bad : highest >= 0.75 ? warn : line;
  context.lineWidth = 2;
  context.beginPath();
  let begun = false;
  for (const [at, value] of steps) {
    const x = ((at - from) / WINDOW_S) * width;
    if (x < 0) continue;
    const y = height - 2 - value * (height - 4);
    if (begun) context.lineTo(x, y);
    else context.moveTo(Math.max(0, x - 3), y);
    context.lineTo(x, y);
    begun = true;
  }
  context.stroke();
}

/** Draw verdicts per second over a minute: approved below, refused on top. */
export function throughput(canvas, seconds) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const { good, bad } = palette();
  context.clearRect(0, 0, width, height);
  const highest = Math.max(1, ...seconds.map(([, yes, no]) => yes + no));
  const last = seconds.length ? seconds[seconds.length - 1][0] : 0;
  const step = width / 60;
  for (const [second, yes, no] of seconds) {
    const x = width - (last - second + 1) * step;
    const [a, b] = [(yes / highest) * height, (no / highest) * height];
    context.fillStyle = good;
    context.fillRect(x, height - a, step - 1, a);
    context.fillStyle = bad;
    context.fillRect(x, height - a - b, step - 1, b);
  }
}
