// What the page uses of three.js; everything else is left out of semtta/assets/page/three.min.js.
export {
  Bone, BufferAttribute, BufferGeometry, DirectionalLight, Float32BufferAttribute, Group,
  HemisphereLight, LineBasicMaterial, LineSegments, Matrix4, MeshStandardMaterial,
  PerspectiveCamera, Scene, Skeleton, SkinnedMesh, Uint8BufferAttribute, Vector3, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
