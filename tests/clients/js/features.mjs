// More of the official JavaScript client: streams, files, trainings, webhooks. One job, named by the
// first argument; answers with one line of JSON. What a job is given comes as JSON on stdin.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import Replicate, { validateWebhook } from "replicate";

const { BASE_URL, KEY } = process.env;
const replicate = new Replicate({ auth: KEY, baseUrl: BASE_URL });
const poll = { mode: "poll", interval: 100 };
const llama = "meta/meta-llama-3-8b-instruct";
const asked = { prompt: "Tell me about rivers", max_tokens: 12 };
const trainer = ["ostris", "flux-dev-lora-trainer"];

async function collect(ref, input) {
  const events = [];
  for await (const event of replicate.stream(ref, { input })) {
    const shown = event.event === "output" ? event : { ...event, data: String(event.data) };
    events.push(shown);
  }
  return events;
}

function given() {
  return JSON.parse(readFileSync(0, "utf8"));
}

const jobs = {
  async stream() {
    const events = await collect(llama, asked);
    return {
      kinds: events.map((event) => event.event),
      text: events.filter((event) => event.event === "output").map(String).join(""),
    };
  },
  async streamOfFiles() {
    // The client decides by the stream's address that its outputs are files to be read.
    const input = { prompt: "a fox", output_format: "jpg" };
    const events = await collect("black-forest-labs/flux-schnell", input);
    const [output] = events.filter((event) => event.event === "output");
    const blob = await output.data.blob();
    const head = Array.from(new Uint8Array(await blob.arrayBuffer()).slice(0, 3));
    return { kinds: events.map((event) => event.event), url: String(output.data), head };
  },
  async words() {
    return { words: await replicate.run(llama, { input: asked }) };
  },
  async files() {
    const { png } = given();
    const content = new Blob([Buffer.from(png, "base64")], { type: "image/png" });
    const made = await replicate.files.create(content, { of: "a square" });
    const read = await replicate.files.get(made.id);
    const listed = (await replicate.files.list()).results.map((file) => file.id);
    // Two ways to use it: its address, and the bytes themselves, which the client uploads.
    const errors = [];
    for (const image of [made.urls.get, content]) {
      const prediction = await replicate.predictions.create({
        model: "simulated/image-to-image",
        input: { image },
      });
      const done = await replicate.wait(prediction, { interval: 100 });
      errors.push(done.error);
    }
    const deleted = await replicate.files.delete(made.id);
    return { made, read, listed, errors, deleted };
  },
  async chain() {
    const first = await replicate.run("simulated/single-picture", {
      input: { prompt: "a fox" },
      wait: poll,
    });
    const second = await replicate.run("simulated/image-to-image", {
      input: { image: String(first) },
      wait: poll,
    });
    return { first: String(first), second: String(second[0]) };
  },
  async trainings() {
    const model = await replicate.models.get(...trainer);
    const input = { input_images: "https://example.com/pictures.zip", steps: 10 };
    const options = { destination: "acme/fine-tune", input };
    const made = await replicate.trainings.create(...trainer, model.latest_version.id, options);
    const other = await replicate.trainings.create(...trainer, model.latest_version.id, options);
    const canceled = await replicate.trainings.cancel(other.id);
    const listed = (await replicate.trainings.list()).results.map((training) => training.id);
    const done = await replicate.wait(made, { interval: 100 });
    const read = await replicate.trainings.get(made.id);
    return { made, other, canceled, listed, done, read };
  },
  async catalogue() {
    const found = await replicate.models.search("fastest image generation");
    const model = await replicate.models.get("black-forest-labs", "flux-schnell");
    const versions = await replicate.models.versions.list("black-forest-labs", "flux-schnell");
    const collection = await replicate.collections.get("text-to-image");
    const deployment = await replicate.deployments.get("acme", "flux-fast");
    const made = await replicate.deployments.predictions.create("acme", "flux-fast", {
      input: { prompt: "a fox" },
    });
    return {
      searched: found.results.map((item) => `${item.owner}/${item.name}`),
      latest: model.latest_version.id,
      versions: versions.results.map((version) => version.id),
      collected: collection.models.length,
      deployment: deployment.name,
      hardware: (await replicate.hardware.list()).length,
      account: (await replicate.accounts.current()).username,
      predicted: (await replicate.wait(made, { interval: 100 })).status,
    };
  },
  async hook() {
    const made = await replicate.predictions.create({
      model: "simulated/echo",
      input: { value: 1 },
      webhook: given().url,
      webhook_events_filter: ["completed"],
    });
    return { id: made.id, webhook: made.webhook, filter: made.webhook_events_filter };
  },
  async verify() {
    const { headers, body } = given();
    const { key } = await replicate.webhooks.default.secret.get();
    const request = { headers, body };
    return {
      right: await validateWebhook(request, key, webcrypto),
      wrong: await validateWebhook({ headers, body: `${body} ` }, key, webcrypto),
    };
  },
};

console.log(JSON.stringify(await jobs[process.argv[2]]()));
