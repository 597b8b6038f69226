// One clock for everything: the frame of the video. Slider, keys, timeline and the playing video
// set it; video, overlay, 3D view and timeline show it.

const TYPES = { f32: Float32Array, u32: Uint32Array, i32: Int32Array, u8: Uint8Array };
const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// Arrays lie in the file as {type, data}; everything else is plain JSON.
function unpacked(value) {
  if (Array.isArray(value)) return value.map(unpacked);
  if (value === null || typeof value !== "object") return value;
  if (value.type in TYPES) return new TYPES[value.type](bytesOf(value.data).buffer);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpacked(item)]));
}

class Page {
  constructor(data, clip) {
    this.data = data;
    this.times = data.times;
    this.begin = data.begin; // first frame that is shown
    this.frame = this.begin;
    this.video = byId("video");
    this.hasVideo = clip.length > 0;
    this.pointsOnVideo = true;
    this.shown = new Set(data.motions.filter((motion) => motion.shown).map(({ key }) => key));
    byId("title").textContent = data.title;
    byId("subtitle").textContent = data.subtitle;
    byId("slider").min = this.begin;
    byId("slider").max = this.times.length - 1;
    this.timeline = new Timeline(byId("timeline"), this.begin, this.times.length, data.motions,
      (frame) => this.seek(frame));
    try {
      this.stage = new Stage(byId("stage"), byId("scene"), byId("overlay"), data, this.shown);
    } catch (error) {
      byId("no-scene").hidden = false;
      byId("no-scene").textContent = "The 3D view needs WebGL, which this browser does not offer.";
    }
    if (this.hasVideo) {
      this.video.src = URL.createObjectURL(new Blob([bytesOf(clip)], { type: "video/mp4" }));
    } else {
      this.video.hidden = true;
      byId("no-video").hidden = false;
      byId("no-video").textContent = data.no_video;
    }
    this.addTracks();
    this.addMotions();
    this.addControls();
    this.addFooter();
    this.setTrack(0);
    this.layout();
    this.stage?.setView("overview");
    press("views", "overview");
    this.seek(data.first);
  }

  addTracks() {
    const several = this.data.tracks.length > 1;
    byId("tracks").replaceChildren(...(several ? this.data.tracks : []).map((track, i) => {
      const button = element("button", "", `person ${track.id}`);
      button.addEventListener("click", () => {
        this.setTrack(i);
        this.stage?.setView(this.view ?? "overview");
        this.show(this.frame);
      });
      return button;
    }));
  }

  // Of two motions one or both are shown, of more any.
  addMotions() {
    const { motions } = this.data;
    const buttons = [...motions, { key: "all", name: motions.length > 2 ? "all" : "both" }];
    byId("shown").replaceChildren(...buttons.map(({ key, name, color }, i) => {
      const button = element("button");
      button.dataset.shown = key;
      button.title = `${name} (${i + 1})`;
      if (color) {
        const dot = element("i", "dot");
        dot.style.background = `var(${color})`;
        button.append(dot);
      }
      button.append(name);
      button.addEventListener("click", () => this.choose(key));
      return button;
    }));
    this.setShown(this.shown);
  }

  choose(key) {
    const all = this.data.motions.map((motion) => motion.key);
    if (key === "all") return this.setShown(all);
    if (all.length < 3) return this.setShown([key]);
    this.setShown(all.filter((other) => this.shown.has(other) !== (other === key)));
  }

  setShown(keys) {
    this.shown = new Set(keys);
    const all = this.shown.size === this.data.motions.length;
    const several = this.data.motions.length > 2;
    for (const button of byId("shown").children) {
      const { shown: key } = button.dataset;
      const on = key === "all" ? all : this.shown.has(key) && (several || !all);
      button.setAttribute("aria-pressed", on);
    }
    this.stage?.setShown(this.shown);
  }

  setTrack(i) {
    this.track = this.data.tracks[i];
    this.rows = new Map(Array.from(this.track.frames, (frame, row) => [frame, row]));
    [...byId("tracks").children].forEach((button, k) => button.setAttribute("aria-pressed", k === i));
    byId("tiles").replaceChildren(...this.track.tiles.map(({ title, value, note }) => {
      const tile = element("div", "tile");
      tile.append(element("b", "", title), element("span", "", value), element("small", "", note));
      return tile;
    }));
    showTables(this.track, (frame) => this.seek(frame));
    this.paint();
  }

  // Everything that has colours of its own; again when the system turns light or dark.
  paint() {
    const colors = { ink: css("--ink"), grid: css("--quiet") };
    for (const { key, color } of this.data.motions) colors[key] = css(color);
    this.timeline.setTrack(this.track);
    this.stage?.setTrack(this.track, colors);
  }

  layout() {
    const { width, height } = this.data.picture;
    document.documentElement.style.setProperty("--aspect", width / height);
    const pane = byId("picture").parentElement;
    const narrow = window.matchMedia("(max-width: 820px)").matches;
    const room = narrow ? window.innerHeight * 0.6 : pane.clientHeight;
    const scale = Math.min(pane.clientWidth / width, room / height);
    byId("picture").style.width = `${Math.floor(width * scale)}px`;
    byId("picture").style.height = `${Math.floor(height * scale)}px`;
    this.stage?.resize();
    this.drawPoints();
  }

  // ------------------------------------------------------------------ the clock

  seek(frame) {
    this.show(frame);
    if (!this.hasVideo) return;
    // The middle of a frame's time: no rounding leads to its neighbour.
    const next = this.times[this.frame + 1] ?? this.times[this.frame] + 1 / this.data.fps;
    this.video.currentTime = (this.times[this.frame] + next) / 2 - this.times[this.begin];
  }

  show(frame) {
    this.frame = Math.max(this.begin, Math.min(this.times.length - 1, frame));
    const row = this.rows.get(this.frame) ?? -1;
    byId("slider").value = this.frame;
    this.timeline.setFrame(this.frame, row);
    this.stage?.setFrame(row);
    this.drawPoints();
    const { labels, label_of: of } = this.track.told[0];
    const label = row < 0 ? "not in the picture" : labels[of[row]];
    const number = element("b", "", `${this.frame}`);
    const last = this.times.length - 1;
    const shown = this.begin ? ` (${this.begin} to ${last})` : ` of ${last + 1}`;
    byId("clock").replaceChildren("frame ", number, shown,
      ` · ${(this.times[this.frame] - this.times[0]).toFixed(2)} s`, label ? ` · ${label}` : "");
  }

  // Frame shown at a time of the video in the page, seconds from its first frame.
  frameAt(seconds) {
    let low = this.begin;
    let high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] - this.times[this.begin] <= seconds + 1e-4) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  play() {
    if (this.playing) return this.pause();
    this.playing = true;
    byId("play").classList.add("playing");
    byId("play").setAttribute("aria-label", "Pause");
    if (this.frame >= this.times.length - 1) this.seek(this.begin);
    if (this.hasVideo) this.video.play().catch(() => this.pause());
    const start = performance.now() - 1000 * (this.times[this.frame] - this.times[this.begin]);
    const step = () => {
      if (!this.playing) return;
      const seconds = this.hasVideo ? this.video.currentTime : (performance.now() - start) / 1000;
      const frame = this.frameAt(seconds);
      if (frame !== this.frame) this.show(frame);
      const over = this.hasVideo ? this.video.ended : frame === this.times.length - 1;
      if (over) return this.pause();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  pause() {
    this.playing = false;
    this.video.pause();
    byId("play").classList.remove("playing");
    byId("play").setAttribute("aria-label", "Play");
    this.seek(this.frame);
  }

  // ------------------------------------------------------------------ 2D evidence

  drawPoints() {
    const canvas = byId("points");
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const row = this.rows?.get(this.frame) ?? -1;
    if (row < 0 || !this.pointsOnVideo) return;
    const { joints, edges, state, points } = this.track;
    const paint = canvas.getContext("2d");
    const scale = canvas.width / this.data.picture.width;
    const colors = ["", css("--seen"), css("--filled")];
    const of = (j) => state[joints.length * row + j];
    const at = (j) => [0, 1].map((k) => (points[2 * (joints.length * row + j) + k] + 0.5) * scale);
    paint.lineWidth = 1.6 * ratio;
    for (const [a, b] of edges) {
      if (!of(a) || !of(b)) continue;
      paint.strokeStyle = colors[Math.max(of(a), of(b))];
      paint.beginPath();
      paint.moveTo(...at(a));
      paint.lineTo(...at(b));
      paint.stroke();
    }
    joints.forEach((_, j) => {
      if (!of(j)) return;
      paint.fillStyle = colors[of(j)];
      paint.beginPath();
      paint.arc(...at(j), 2.6 * ratio, 0, 2 * Math.PI);
      paint.fill();
    });
  }

  // ------------------------------------------------------------------ controls

  addControls() {
    byId("play").addEventListener("click", () => this.play());
    byId("slider").addEventListener("input", (event) => this.seek(Number(event.target.value)));
    byId("views").addEventListener("click", (event) => this.setView(event.target.dataset.view));
    byId("mesh-on-video").addEventListener("click", () => this.toggleMesh());
    byId("points-on-video").addEventListener("click", () => this.togglePoints());
    window.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.layout()).observe(byId("stage"));
    window.addEventListener("resize", () => this.layout());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.paint();
      this.show(this.frame);
    });
  }

  setView(name) {
    if (!name) return;
    this.view = name;
    press("views", name);
    this.stage?.setView(name);
  }

  toggleMesh() {
    if (!this.stage) return;
    this.stage.meshOnVideo = !this.stage.meshOnVideo;
    byId("mesh-on-video").setAttribute("aria-pressed", this.stage.meshOnVideo);
    this.stage.draw();
  }

  togglePoints() {
    this.pointsOnVideo = !this.pointsOnVideo;
    byId("points-on-video").setAttribute("aria-pressed", this.pointsOnVideo);
    this.drawPoints();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const actions = {
      ArrowRight: () => this.seek(this.frame + step), ArrowLeft: () => this.seek(this.frame - step),
      Home: () => this.seek(this.begin), End: () => this.seek(this.times.length - 1), " ": () => this.play(),
      c: () => this.setView("camera"), s: () => this.setView("side"), a: () => this.setView("above"),
      o: () => this.setView("overview"), m: () => this.toggleMesh(), p: () => this.togglePoints(),
    };
    const shown = byId("shown").children[Number(event.key) - 1];
    const action = actions[event.key] ?? (shown && (() => shown.click()));
    if (!action || (event.key === " " && event.target.tagName === "BUTTON")) return;
    event.preventDefault();
    action();
  }

  addFooter() {
    const keys = element("span", "keys");
    const count = Math.min(byId("shown").children.length, 9);
    const numbers = Array.from({ length: count }, (_, i) => [`${i + 1}`, i + 1 < count ? "" : "mesh "]);
    for (const [key, does] of [["←", ""], ["→", "frame "], ["Space", "play "], ...numbers,
      ["c", ""], ["s", ""], ["a", ""], ["o", "view "]]) {
      keys.append(element("kbd", "", key), ` ${does}`);
    }
    byId("footer").append(element("span", "", this.data.footer), keys);
  }
}

// The pressed view.
function press(group, name) {
  for (const button of byId(group).querySelectorAll("button")) {
    button.setAttribute("aria-pressed", button.dataset.view === name);
  }
}

window.page = new Page(unpacked(JSON.parse(byId("data").textContent)), byId("clip").textContent.trim());
