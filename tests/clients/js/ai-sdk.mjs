// The AI SDK with its Replicate provider makes pictures; answers with one line of JSON.
import { createReplicate } from "@ai-sdk/replicate";
import { generateImage } from "ai";

const { BASE_URL, KEY } = process.env;
const replicate = createReplicate({ apiToken: KEY, baseURL: BASE_URL });
const found = {};

async function picture(model, options = {}) {
  const { image } = await generateImage({
    model: replicate.image(model),
    prompt: "a fox",
    aspectRatio: "1:1",
    maxRetries: 0,
    providerOptions: { replicate: options },
  });
  return { type: image.mediaType, size: image.uint8Array.length };
}

const lora = process.env.LORA;
found.official = await picture("black-forest-labs/flux-schnell", { output_format: "jpg" });
found.version = await picture(lora, { output_format: "png" });
// A failed prediction has no output, and that is what the provider says.
try {
  await picture("simulated/failing", { message: "out of paint", seconds: 0.1 });
} catch (error) {
  found.failure = String(error.message);
}
try {
  await picture("black-forest-labs/flux-schnell", { output_format: "png", num_inference_steps: 99 });
} catch (error) {
  found.refusal = { status: error.statusCode, message: String(error.message) };
}
console.log(JSON.stringify(found));
