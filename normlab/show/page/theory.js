// Mean-field theory of a wide MLP without a norm at initialization: `normlab explain theory` has its
// formulas. The page's tables hold what it asks of a nonlinearity φ: E[φ], ln E[φ²], ln E[φ′²] by ln q.
const theory = JSON.parse(document.getElementById("theory-data").textContent);
const panel = document.getElementById(theory.name);
const control = name => panel.querySelector(`[name=${name}]`);

// A table at ln q: a cubic curve through the four places around it, a straight line beyond its ends.
function at(table, logQ) {
  const last = table.length - 1, place = (logQ - theory.start) / theory.step;
  if (place <= 0) return table[0] + place * (table[1] - table[0]);
  if (place >= last) return table[last] + (place - last) * (table[last] - table[last - 1]);
  const first = Math.min(Math.max(Math.floor(place) - 1, 0), last - 3), x = place - first;
  const [a, b, c, d] = table.slice(first, first + 4);
  return -a * (x - 1) * (x - 2) * (x - 3) / 6 + b * x * (x - 2) * (x - 3) / 2
    - c * x * (x - 1) * (x - 3) / 2 + d * x * (x - 1) * (x - 2) / 6;
}

// δ of every hidden layer over that of the last; null where z dies out or outgrows every number.
function predictedProfile(net) {
  const table = theory.tables[net.activation], slopes = [];
  let q = net.weight_variance * net.input_variance + net.bias_variance * net.input_bias,
    mean = 0, square = 0;
  for (let layer = 0; layer < net.depth - 1; layer++) {
    if (!table.homogeneous && !(q > 1e-30 && q < 1e30)) return null;
    const logQ = table.homogeneous ? 0 : Math.log(q);  // whose φ′ is the same for every size of z
    slopes.push(Math.exp(at(table.slope, logQ)));
    const ownMean = net.residual ? at(table.mean, logQ) : 0, own = Math.exp(at(table.square, logQ));
    if (net.residual && layer) {
      square += own + 2 * mean * ownMean;
      mean += ownMean;
    } else [mean, square] = [ownMean, own];
    q = net.weight_variance * square + net.bias_variance;
  }
  const profile = slopes.map(() => 1);
  for (let layer = slopes.length - 2; layer >= 0; layer--) {
    const back = net.weight_variance + (net.residual ? 1 / slopes[layer + 1] : 0);
    profile[layer] = profile[layer + 1] * Math.sqrt(slopes[layer] * back);
  }
  return profile;
}

// χ₁ = σ_w² E[φ′(√q* u)²] at the q* that the layers of a plain net lead z to.
function chi1(net) {
  const table = theory.tables[net.activation];
  if (table.homogeneous) return net.weight_variance * Math.exp(at(table.slope, 0));
  let logQ = Math.log(net.weight_variance + net.bias_variance);
  for (let layer = 0; layer < 5000; layer++) {
    const next = Math.log(net.weight_variance * Math.exp(at(table.square, logQ)) + net.bias_variance);
    if (Math.abs(next) > 70 || Math.abs(next - logQ) < 1e-12) { logQ = next; break; }
    logQ = next;
  }
  return net.weight_variance * Math.exp(at(table.slope, logQ));
}

function written(number) {
  if (number === 0 || (Math.abs(number) >= 0.001 && Math.abs(number) < 10000))
    return String(Number(number.toPrecision(3)));
  return number.toExponential(1);
}
function askedFor() {
  const measured = theory.nets[control("net").value];
  return { activation: control("activation").value, residual: control("residual").checked,
    input_variance: measured.input_variance, input_bias: measured.input_bias, depth: Number(control("depth").value),
    weight_variance: Number(control("weight_variance").value),
    bias_variance: Number(control("bias_variance").value) };
}
function inWords(net, profile) {
  if (!profile) return "z dies out, or outgrows every number: there is no gradient to speak of.";
  const ratio = profile[0], { vanishing, exploding } = theory;
  const state = ratio < vanishing ? `below ${vanishing}: the gradient vanishes`
    : ratio > exploding ? `above ${exploding}: the gradient explodes`
    : `between ${vanishing} and ${exploding}: it neither vanishes nor explodes`;
  const words = `R, first over last layer: ${written(ratio)}, ${state}.`;
  if (net.residual) return words;
  const chi = chi1(net), away = Math.log(chi);
  const phase = Math.abs(away) < 0.001 ? "critical" : away < 0 ? "ordered" : "chaotic";
  return `${words} Far from the input a layer multiplies it by √χ₁ = ${written(Math.sqrt(chi))}: the ${phase} phase.`;
}

// What theory says of skips, it says of a φ whose φ″ is odd.
function allowSkips() {
  const skips = control("residual"), known = theory.tables[control("activation").value].oddCurvature;
  skips.disabled = !known;
  if (!known) skips.checked = false;
  skips.parentElement.title = known ? "" : "theory has no prediction of this activation with skips";
}
function showTheory() {
  allowSkips();
  const net = askedFor(), profile = predictedProfile(net);
  for (const name of ["weight_variance", "bias_variance", "depth"])
    control(name).nextElementSibling.textContent = written(net[name]);
  panel.querySelector(".told").textContent = inWords(net, profile);
  // A logarithmic axis has no place for what is smaller than every number.
  const rows = (profile ?? []).map((value, index) => ({ layer: index + 1, value }))
    .filter(row => row.value > 1e-300 && row.value < 1e300);
  const measured = theory.nets[control("net").value].profile;
  Object.assign(specs[theory.name].datasets, { predicted: rows, measured });
  const view = window.views[theory.name];
  if (view) view.data("predicted", rows).data("measured", measured).resize().runAsync();
}
function asMeasured() {
  const net = theory.nets[control("net").value];
  for (const name of ["activation", "weight_variance", "bias_variance", "depth"])
    control(name).value = net[name];
  allowSkips();
  control("residual").checked = net.residual;
  showTheory();
}
panel.addEventListener("input", event => event.target.name === "net" ? asMeasured() : showTheory());
panel.querySelector("button").addEventListener("click", asMeasured);
asMeasured();
