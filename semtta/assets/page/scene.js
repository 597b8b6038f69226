// The 3D view: every motion's body as a skinned mesh, the camera that filmed them, a metre grid.
// Everything of the track is in the camera frame (x right, y down, z forward); one node turns it by
// half a turn about x into the y-up world of three.js.

class Figure {
  constructor(body, motion, color) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(motion.rest, 3));
    geometry.setAttribute("skinIndex", new THREE.Uint8BufferAttribute(body.joint_ids, 4));
    geometry.setAttribute("skinWeight", new THREE.BufferAttribute(body.weights, 4));
    geometry.setIndex(new THREE.BufferAttribute(body.faces, 1));
    geometry.computeVertexNormals();
    this.motion = motion;
    this.bones = body.parents.map(() => new THREE.Bone());
    const at = (j) => new THREE.Vector3().fromArray(motion.joints, 3 * j);
    body.parents.forEach((parent, j) => {
      this.bones[j].position.copy(at(j));
      if (parent < 0) return;
      this.bones[j].position.sub(at(parent));
      this.bones[parent].add(this.bones[j]);
    });
    this.bones[0].updateMatrixWorld(true);
    this.material = new THREE.MeshStandardMaterial({ color, roughness: 0.72, metalness: 0 });
    this.mesh = new THREE.SkinnedMesh(geometry, this.material);
    this.mesh.bind(new THREE.Skeleton(this.bones), new THREE.Matrix4());
    this.mesh.frustumCulled = false; // its bounds are those of the rest pose
  }

  pose(row) {
    this.bones[0].position.fromArray(this.motion.root, 3 * row);
    this.bones.forEach((bone, j) => {
      bone.quaternion.fromArray(this.motion.rotations, 4 * (this.bones.length * row + j));
    });
  }

  dispose() {
    this.mesh.geometry.dispose();
    this.material.dispose();
    this.mesh.skeleton.dispose();
  }
}

class Stage {
  // body: faces, weights, tree. picture: size of the video, pixels. motions: what can be shown,
  // shown: the keys of those that are. Throws without WebGL.
  constructor(pane, canvas, overlay, { body, picture, motions }, shown) {
    Object.assign(this, { pane, body, picture, shown, meshOnVideo: true, figures: {} });
    this.keys = motions.map((motion) => motion.key);
    const settings = { antialias: true, alpha: true, preserveDrawingBuffer: true };
    this.renderer = new THREE.WebGLRenderer({ canvas, ...settings });
    this.overlay = new THREE.WebGLRenderer({ canvas: overlay, ...settings });
    this.overlay.autoClear = false; // one pass per motion, each with the camera it was made with
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(40, 1, 0.05, 500);
    this.controls = new THREE.OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.draw());
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0x9aa4b5, 1.9));
    const sun = new THREE.DirectionalLight(0xffffff, 2.1);
    sun.position.set(2, 5, 4);
    this.scene.add(sun);
    this.world = new THREE.Group();
    this.world.rotation.x = Math.PI;
    this.scene.add(this.world);
  }

  setTrack(track, colors) {
    for (const figure of Object.values(this.figures)) figure.dispose();
    this.world.clear();
    this.track = track;
    this.figures = {};
    this.trails = {};
    this.eyes = {};
    for (const name of this.keys.filter((key) => key in track.motions)) {
      const figure = new Figure(this.body, track.motions[name], colors[name]);
      this.figures[name] = figure;
      this.eyes[name] = this.eyeOf(track.motions[name]);
      this.trails[name] = lines(pathOf(track, name), colors[name], 0.75);
      this.world.add(figure.mesh, figure.bones[0], this.trails[name]);
    }
    this.spread = spreadOf(track);
    this.addSurroundings(colors);
  }

  addSurroundings(colors) {
    const { low, high } = this.spread;
    const { floor } = this.track;
    // Metre cells from behind the camera to behind the person.
    const far = Math.ceil(Math.max(high[2] + 1, 3));
    const half = Math.ceil(Math.max(-low[0], high[0], 2));
    const grid = [];
    for (let x = -half; x <= half; x++) grid.push(x, floor, -1, x, floor, far);
    for (let z = -1; z <= far; z++) grid.push(-half, floor, z, half, floor, z);
    this.surroundings = [lines(grid, colors.grid, 0.55)];
    // The camera: a pyramid through the corners of the picture, and rays on to the person.
    const corners = this.corners(0.45);
    const frustum = [];
    corners.forEach((corner, i) => {
      frustum.push(0, 0, 0, ...corner, ...corner, ...corners[(i + 1) % 4]);
    });
    const [left, right] = corners;
    const top = [(left[0] + right[0]) / 2, left[1] - 0.1, left[2]];
    frustum.push(...left, ...top, ...top, ...right);
    const rays = [];
    const distant = this.corners((low[2] + high[2]) / 2);
    distant.forEach((corner, i) => {
      rays.push(...corners[i], ...corner, ...corner, ...distant[(i + 1) % 4]);
    });
    this.surroundings.push(lines(frustum, colors.ink, 0.9), lines(rays, colors.ink, 0.22));
    // Where the person stands on the grid.
    const ring = [];
    for (let k = 0; k < 40; k++) {
      for (const a of [k, k + 1]) {
        ring.push(0.28 * Math.cos((a * Math.PI) / 20), 0, 0.28 * Math.sin((a * Math.PI) / 20));
      }
    }
    this.rings = {};
    this.stems = {};
    for (const name of Object.keys(this.figures)) {
      this.rings[name] = lines(ring, colors[name], 1);
      this.stems[name] = lines([0, 0, 0, 0, -1, 0], colors[name], 0.6);
      this.rings[name].add(this.stems[name]);
    }
    this.surroundings.push(...Object.values(this.rings));
    this.world.add(...this.surroundings);
  }

  // Corners of the picture at a depth, from the top left, clockwise.
  corners(depth, { focal, center } = this.track) {
    const { width, height } = this.picture;
    return [[0, 0], [width, 0], [width, height], [0, height]].map(([u, v]) => [
      ((u - 0.5 - center[0]) / focal) * depth, ((v - 0.5 - center[1]) / focal) * depth, depth,
    ]);
  }

  // The projection of the camera that filmed, so that meshes fall where they are in the picture.
  eyeOf(motion) {
    const near = 0.05;
    const [topLeft, , bottomRight] = this.corners(near, motion);
    const eye = new THREE.PerspectiveCamera();
    eye.projectionMatrix.makePerspective(
      topLeft[0], bottomRight[0], -topLeft[1], -bottomRight[1], near, 500,
    );
    eye.projectionMatrixInverse.copy(eye.projectionMatrix).invert();
    return eye;
  }

  setShown(keys) {
    this.shown = keys;
    this.draw();
  }

  setView(name) {
    const { low, high } = this.spread;
    if (name === "camera") {
      const [topLeft, , bottomRight] = this.corners(1);
      const { aspect } = this.camera;
      const half = Math.max(-topLeft[1], bottomRight[1], bottomRight[0] / aspect, -topLeft[0] / aspect);
      this.camera.fov = (2 * Math.atan(half) * 180) / Math.PI;
      this.camera.position.set(0, 0, 0);
      this.controls.target.set(0, 0, -(low[2] + high[2]) / 2);
    } else {
      const points = [];
      for (const x of [low[0], high[0]]) {
        for (const y of [low[1], high[1]]) {
          for (const z of [low[2], high[2]]) points.push(new THREE.Vector3(x, -y, -z));
        }
      }
      if (name === "overview") points.push(new THREE.Vector3(0, 0, 0.3));
      const from = { side: [1, 0.12, 0], above: [0, 1, 0.002], overview: [0.8, 0.45, 0.5] }[name];
      this.frame(points, new THREE.Vector3().fromArray(from).normalize());
    }
    this.camera.updateProjectionMatrix();
    this.controls.update();
    this.draw();
  }

  // Look at points from a direction, as near as shows them all.
  frame(points, back) {
    const { camera } = this;
    camera.fov = 30;
    const high = Math.tan((camera.fov * Math.PI) / 360) * 0.94;
    const wide = high * camera.aspect;
    const right = new THREE.Vector3(0, 1, 0).cross(back).normalize();
    const up = back.clone().cross(right);
    const seen = points.map((point) => [right, up, back].map((axis) => point.dot(axis)));
    // A perspective has no simple middle: near points reach farther out.
    let [x, y, distance] = [0, 0, 0];
    for (let turn = 0; turn < 12; turn++) {
      const sides = (k, size) => {
        const reach = seen.map((p) => [(p[k] - [x, y][k]) / size + p[2], ([x, y][k] - p[k]) / size + p[2]]);
        return [Math.max(...reach.map((r) => r[0])), Math.max(...reach.map((r) => r[1]))];
      };
      const [[r, l], [t, b]] = [sides(0, wide), sides(1, high)];
      x += ((r - l) * wide) / 2;
      y += ((t - b) * high) / 2;
      distance = Math.max(r, l, t, b);
    }
    const middle = seen.reduce((sum, p) => sum + p[2], 0) / seen.length;
    const at = (depth) => new THREE.Vector3().addScaledVector(right, x).addScaledVector(up, y)
      .addScaledVector(back, depth);
    camera.position.copy(at(distance));
    this.controls.target.copy(at(middle));
  }

  // row of the track, or -1 where the person is not in the video.
  setFrame(row) {
    this.row = row;
    for (const [name, figure] of Object.entries(this.figures)) {
      if (!this.isThere(name)) continue;
      figure.pose(row);
      const [x, y, z] = this.track.motions[name].root.subarray(3 * row, 3 * row + 3);
      this.rings[name].position.set(x, this.track.floor, z);
      this.stems[name].scale.y = Math.max(this.track.floor - y, 1e-3);
    }
    this.draw();
  }

  // Whether a motion has the person in the frame: one result may have seen less than another.
  isThere(name) {
    return Number.isFinite(this.track.motions[name].root[3 * this.row]);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.pane;
    if (!width || !height) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
    const shown = this.overlay.domElement;
    this.overlay.setPixelRatio(ratio);
    if (shown.clientWidth) this.overlay.setSize(shown.clientWidth, shown.clientHeight, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  draw() {
    if (!this.track || this.row === undefined) return;
    const shown = Object.keys(this.figures).filter((name) => this.shown.has(name));
    for (const [name, figure] of Object.entries(this.figures)) {
      const visible = shown.includes(name);
      figure.mesh.visible = this.rings[name].visible = visible && this.isThere(name);
      this.trails[name].visible = visible;
      // Several bodies in one place: all but the last let the others shine through.
      figure.material.transparent = name !== shown.at(-1);
      figure.material.opacity = figure.material.transparent ? 0.6 : 1;
    }
    this.renderer.render(this.scene, this.camera);
    const aids = [...this.surroundings, ...Object.values(this.trails)];
    const before = aids.map((aid) => aid.visible);
    aids.forEach((aid) => (aid.visible = false));
    this.overlay.clear();
    const meshes = shown.filter((name) => this.figures[name].mesh.visible);
    for (const name of this.meshOnVideo ? [...meshes].reverse() : []) { // what shines through, last
      for (const other of meshes) this.figures[other].mesh.visible = other === name;
      this.overlay.render(this.scene, this.eyes[name]);
    }
    for (const name of meshes) this.figures[name].mesh.visible = true;
    aids.forEach((aid, i) => (aid.visible = before[i]));
  }
}

// Pairs of points as one object; opacity below 1 blends.
function lines(numbers, color, opacity) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(numbers, 3));
  const material = new THREE.LineBasicMaterial({ color, opacity, transparent: opacity < 1 });
  return new THREE.LineSegments(geometry, material);
}

// The way of the pelvis, without a line across frames where the person was not seen.
function pathOf(track, name) {
  const { root } = track.motions[name];
  const pairs = [];
  for (let i = 0; i + 1 < track.frames.length; i++) {
    const both = Number.isFinite(root[3 * i] + root[3 * i + 3]);
    if (both && track.frames[i + 1] === track.frames[i] + 1) pairs.push(...root.subarray(3 * i, 3 * i + 6));
  }
  return pairs;
}

// Box around the track in the camera frame, metres, with a person's room about the pelvis.
function spreadOf(track) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (const { root } of Object.values(track.motions)) {
    root.forEach((value, i) => {
      if (!Number.isFinite(value)) return;
      low[i % 3] = Math.min(low[i % 3], value - (i % 3 === 1 ? 1 : 0.75));
      high[i % 3] = Math.max(high[i % 3], value + (i % 3 === 1 ? 1 : 0.75));
    });
  }
  return { low, high };
}
