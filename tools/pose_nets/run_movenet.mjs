// Runs a TensorFlow.js graph model with TensorFlow.js itself (wasm backend), as the reference for
// the ONNX conversion. Needs: npm i @tensorflow/tfjs @tensorflow/tfjs-backend-wasm
//   node run_movenet.mjs model.json model.bin frame.raw HEIGHT WIDTH out.raw
// frame.raw: HEIGHT x WIDTH x 3 uint8; out.raw: 6 x 56 float32.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';

const require = createRequire(path.join(process.cwd(), 'package.json'));
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');

const [json, bin, frame, height, width, out] = process.argv.slice(2);
const folder = path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json'));
wasm.setWasmPaths(path.join(folder, 'wasm-out') + '/');
await tf.setBackend(process.env.TFJS_BACKEND ?? 'wasm');
await tf.ready();

const model = JSON.parse(fs.readFileSync(json));
const weights = fs.readFileSync(bin);
const graph = await tf.loadGraphModel({
  load: async () => ({
    modelTopology: model.modelTopology,
    signature: model.signature,
    weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
    weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length),
  }),
});
const pixels = Int32Array.from(fs.readFileSync(frame));
const input = tf.tensor4d(pixels, [1, Number(height), Number(width), 3], 'int32');
const output = await graph.executeAsync(input);
fs.writeFileSync(out, Buffer.from((await output.data()).buffer));
console.log(tf.getBackend(), output.shape);
