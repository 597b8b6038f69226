// The timeline: what was known and measured in every frame of the video. Texts of labels and file
// names are only ever set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const NOT_THERE = -2; // as a label: the result does not have the frame

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

class Timeline {
  // begin, end: first and one past the last frame that are shown; motions: names and colours;
  // seek: called with a frame.
  constructor(root, begin, end, motions, seek) {
    Object.assign(this, { root, begin, frames: end - begin, motions, seek });
    let dragging = false;
    const jump = (event) => {
      const plot = this.root.querySelector(".plot").getBoundingClientRect();
      const share = (event.clientX - plot.left) / plot.width;
      const place = Math.max(0, Math.min(this.frames - 1, Math.floor(share * this.frames)));
      this.seek(this.begin + place);
    };
    root.addEventListener("pointerdown", (event) => {
      if (!event.target.closest(".plot")) return;
      dragging = true;
      jump(event);
    });
    window.addEventListener("pointermove", (event) => dragging && jump(event));
    for (const end of ["pointerup", "pointercancel"]) {
      window.addEventListener(end, () => (dragging = false));
    }
  }

  setTrack(track) {
    this.track = track;
    this.readouts = [];
    this.root.replaceChildren();
    this.playhead = element("div");
    this.playhead.id = "playhead";
    for (const told of track.told) {
      this.addLabels(told);
      if (told.gate_similarity || told.similarity) this.addSimilarity(told);
    }
    this.addMotions("2D error, px", (motion) => motion.error, { from: 0, digits: 1 });
    this.addMotions("held-out 2D error, px", (motion) => motion.heldout_error, { from: 0, digits: 1 });
    this.addMotions("distance, m", depthOf, { digits: 2 });
    const first = this.motions.find(({ key }) => key === track.first)?.name;
    this.addMotions(`to ${first}, mm`, (motion) => motion.placed_apart, { from: 0, digits: 0 });
    this.addMotions(`pose to ${first}, mm`, (motion) => motion.posed_apart, { from: 0, digits: 0 });
    this.addJoints();
    this.root.append(this.playhead);
  }

  row(title, plotClass) {
    const row = element("div", "row");
    const side = element("div");
    if (title) side.append(element("h2", "", title));
    const plot = element("div", `plot ${plotClass}`);
    row.append(side, plot);
    this.root.append(row);
    return { side, plot };
  }

  // A row of what a function takes from each motion, if it takes something from any.
  addMotions(title, from, settings) {
    const series = this.motions.filter(({ key }) => key in this.track.motions)
      .map(({ key, name, color }) => [name, from(this.track.motions[key]), color])
      .filter(([, values]) => values);
    if (series.length) this.addLines(title, series, settings);
  }

  addLabels({ name, label_of: of, labels }) {
    const { frames } = this.track;
    const { side, plot } = this.row("label", "labels");
    if (name) side.append(element("em", "", name));
    let start = 0;
    for (let i = 1; i <= frames.length; i++) {
      if (i < frames.length && of[i] === of[start] && frames[i] === frames[i - 1] + 1) continue;
      if (of[start] === NOT_THERE) {
        start = i;
        continue;
      }
      const text = of[start] < 0 ? "no label" : labels[of[start]];
      const run = element("span", "", text);
      run.title = `${text} (frames ${frames[start]} to ${frames[i - 1]})`;
      run.style.left = `${(100 * (frames[start] - this.begin)) / this.frames}%`;
      run.style.width = `${(100 * (frames[i - 1] + 1 - frames[start])) / this.frames}%`;
      const hue = of[start] < 0 ? null : (212 + 67 * of[start]) % 360;
      run.style.background = hue === null ? "var(--hidden)" : `hsl(${hue} 70% 55% / .25)`;
      plot.append(run);
      start = i;
    }
  }

  addSimilarity({ name, similarity, gate_similarity: gate, sigma }) {
    const series = [];
    if (gate) series.push(["gate", gate, "--adapted"]);
    if (similarity) series.push(["alignment", similarity, "--quiet"]);
    const [lowest] = bounds(series.flatMap(([, values]) => Array.from(values)));
    const from = lowest < 0 ? -1 : 0; // a cosine
    const { side, plot } = this.addLines("similarity to label", series, { from, to: 1, digits: 2 });
    if (name) side.querySelector("h2").after(element("em", "", name));
    if (!gate || sigma === null) return;
    const svg = plot.querySelector("svg");
    const y = 100 * (1 - (sigma - from) / (1 - from));
    const line = svgElement("line", { x1: this.begin, x2: this.begin + this.frames, y1: y, y2: y,
      stroke: "var(--filled)", "stroke-dasharray": "4 4" });
    svg.prepend(line);
    const { frames } = this.track;
    for (let start = 0, i = 1; i <= frames.length; i++) {
      const open = gate[start] > sigma;
      if (i < frames.length && gate[i] > sigma === open && frames[i] === frames[i - 1] + 1) continue;
      const width = frames[i - 1] + 1 - frames[start];
      if (open) {
        svg.prepend(svgElement("rect", { x: frames[start], y: 0, width, height: 100,
          fill: "var(--open)" }));
      }
      start = i;
    }
    const threshold = element("em", "", `σ ${sigma.toFixed(2)}, tint: open`);
    threshold.title = "Above its threshold the gate is open: hidden joints are filled.";
    const mark = element("i");
    mark.style.background = "var(--filled)";
    threshold.prepend(mark);
    side.append(threshold);
  }

  // series: [name, one number per row of the track, CSS variable of its colour].
  addLines(title, series, { from, to, digits }) {
    const { side, plot } = this.row(title, "");
    const finite = series.flatMap(([, values]) => Array.from(values).filter(Number.isFinite));
    const low = from ?? (finite.length ? Math.min(...bounds(finite)) : 0);
    let high = to ?? (finite.length ? Math.max(...bounds(finite)) : 1);
    if (!(high > low)) high = low + 1;
    const svg = svgElement("svg", { viewBox: `${this.begin} 0 ${this.frames} 100`, preserveAspectRatio: "none" });
    for (const [name, values, color] of series) {
      const shape = this.pathOf(values, low, high);
      svg.append(svgElement("path", { d: shape, stroke: `var(${color})` }));
      const readout = element("em");
      const mark = element("i");
      mark.style.background = `var(${color})`;
      const text = element("b");
      readout.append(mark, element("span", "", name), text);
      readout.className = "readout";
      readout.title = name;
      side.append(readout);
      this.readouts.push((row) => {
        const value = row < 0 ? NaN : values[row];
        text.textContent = Number.isFinite(value) ? value.toFixed(digits).replace("-", "−") : "–";
      });
    }
    plot.append(svg);
    for (const [value, place] of [[high, "top"], [low, "bottom"]]) {
      const scale = element("span", "scale", value.toFixed(digits > 1 ? 1 : 0).replace("-", "−"));
      scale.style[place] = "0";
      plot.append(scale);
    }
    return { side, plot };
  }

  pathOf(values, low, high) {
    const { frames } = this.track;
    let shape = "";
    let last = null;
    frames.forEach((frame, i) => {
      if (!Number.isFinite(values[i])) return;
      const y = 100 * (1 - (Math.min(Math.max(values[i], low), high) - low) / (high - low));
      shape += `${last === frame - 1 ? "L" : "M"}${frame + 0.5} ${y.toFixed(2)}`;
      if (last !== frame - 1) shape += "h.01"; // a frame alone is a dot
      last = frame;
    });
    return shape;
  }

  addJoints() {
    const { joints, state, frames, told } = this.track;
    const { side, plot } = this.row(told[0].name ? `joints, ${told[0].name}` : "joints", "joints");
    const legend = element("em");
    for (const [name, color] of [["seen", "--strip-seen"], ["filled", "--filled"],
      ["hidden", "--strip-hidden"]]) {
      const mark = element("i");
      mark.style.background = `var(${color})`;
      mark.style.height = ".55rem";
      legend.append(mark, `${name} `);
    }
    side.append(legend);
    plot.style.height = `${11 * joints.length}px`;
    const names = element("div", "names");
    this.names = joints.map((joint) => element("div", "", joint.replaceAll("_", " ")));
    names.append(...this.names);
    const row = element("div", "row");
    const canvas = element("canvas");
    canvas.width = Math.min(this.frames, 8192); // more is not drawn by every browser
    canvas.height = joints.length;
    const scale = canvas.width / this.frames;
    const paint = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colors = ["--strip-hidden", "--strip-seen", "--filled"].map((name) => style.getPropertyValue(name));
    joints.forEach((_, j) => {
      const at = (i) => state[joints.length * i + j];
      for (let start = 0, i = 1; i <= frames.length; i++) {
        if (i < frames.length && at(i) === at(start) && frames[i] === frames[i - 1] + 1) continue;
        const left = Math.floor((frames[start] - this.begin) * scale);
        const right = Math.round((frames[i - 1] + 1 - this.begin) * scale);
        paint.fillStyle = colors[at(start)];
        paint.fillRect(left, j, Math.max(1, right - left), 1);
        start = i;
      }
    });
    plot.append(canvas);
    // Title and legend stand above, so that every name stands beside its strip.
    const head = side.parentElement;
    head.classList.add("head");
    head.replaceChildren(side.querySelector("h2"), legend);
    row.append(names, plot);
    row.classList.add("under");
    this.root.append(row);
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const j = Math.floor(((event.clientY - box.top) / box.height) * joints.length);
      this.names.forEach((name, k) => name.classList.toggle("at", k === j));
    });
    plot.addEventListener("pointerleave", () => {
      this.names.forEach((name) => name.classList.remove("at"));
    });
  }

  // frame of the video, row of the track (-1: not there).
  setFrame(frame, row) {
    const share = (frame - this.begin + 0.5) / this.frames;
    const pad = ".85rem";
    this.playhead.style.left =
      `calc(${pad} + var(--gutter) + (100% - 2 * ${pad} - var(--gutter)) * ${share})`;
    for (const readout of this.readouts) readout(row);
  }
}

function svgElement(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Smallest and largest, of any number of numbers.
function bounds(numbers) {
  return numbers.reduce(([low, high], n) => [Math.min(low, n), Math.max(high, n)],
    [Infinity, -Infinity]);
}

function depthOf(motion) {
  return motion.root.filter((_, i) => i % 3 === 2);
}
