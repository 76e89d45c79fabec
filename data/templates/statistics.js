// Numbers of a page, as the package computes them.
"use strict";

const sum = (list) => list.reduce((a, b) => a + b, 0);

// --- Kendall's tau-b and its interval, as the package computes them ----------------------------

// Each task's part in the pairs: concordant less discordant, untied in x, untied in y.
function pairs(x, y) {
  const parts = [0, 1, 2].map(() => new Float64Array(x.length));
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < i; j++) {
      const [a, b] = [Math.sign(x[i] - x[j]), Math.sign(y[i] - y[j])];
      for (const k of [i, j]) {
        parts[0][k] += a * b;
        parts[1][k] += a * a;
        parts[2][k] += b * b;
      }
    }
  }
  return { parts, sums: parts.map((part) => sum(part) / 2) };
}

const tauOf = ([signed, x, y]) => (x > 0 && y > 0 ? signed / Math.sqrt(x * y) : null);

function spread(taus) { // the standard deviation
  const mean = sum(taus) / taus.length;
  return Math.hypot(...taus.map((t) => t - mean)) / Math.sqrt(taus.length);
}

// The 95 % percentile interval over resampled tasks, drawn in to the jackknife's standard error
// from ten tasks on, as in statistics/resampling.py.
function interval(x, y) {
  const [n, { sums, parts }] = [x.length, pairs(x, y)];
  const tau = tauOf(sums);
  let seed = n; // of a linear congruential generator: equal selections give equal intervals
  const next = () => (seed = (Math.imul(1664525, seed) + 1013904223) >>> 0) / 2 ** 32;
  const taus = Array.from({ length: Math.max(200, Math.min(1000, 5e7 / n ** 2)) }, () => {
    const drawn = Array.from(x, () => Math.floor(next() * n));
    return tauOf(pairs(drawn.map((i) => x[i]), drawn.map((i) => y[i])).sums);
  }).filter((t) => t !== null);
  const without = x.map((_, i) => tauOf(sums.map((all, k) => all - parts[k][i])));
  const expected = Math.sqrt(n - 1) * spread(without.filter((t) => t !== null));
  const factor = n >= 10 && expected > 0 ? Math.min(1, expected / spread(taus)) : 1;
  const sorted = taus.map((t) => tau + factor * (t - tau)).sort((a, b) => a - b);
  return [0.025, 0.975].map((share) => sorted[Math.round(share * (sorted.length - 1))]);
}

// --- The greatest threshold at which accepting keeps its promise, as decision.control_risk

function controlRisk(uncertainty, accuracy, { target, level, bound }) {
  const n = uncertainty.length;
  const order = uncertainty.map((_, i) => i).sort((a, b) => uncertainty[a] - uncertainty[b]);
  let [lost, found] = [0, null];
  order.forEach((i, k) => {
    lost += Math.min(bound, Math.max(0, target - accuracy[i]));
    const last = k + 1 === n || uncertainty[order[k + 1]] > uncertainty[i]; // of a run of ties
    if (!last || (lost + bound) / (n + 1) > level) return;
    const accepted = k + 1;
    found = { threshold: uncertainty[i], accepted, risk: lost / n, shortfall: lost / accepted };
  });
  return found;
}
