// Streams and states as the official JavaScript client sees them: one job, one line of JSON.
import Replicate from "replicate";

const { BASE_URL, KEY } = process.env;
const replicate = new Replicate({ auth: KEY, baseUrl: BASE_URL });

async function collected(model, input) {
  const events = [];
  for await (const { event, data, id } of replicate.stream(model, { input })) {
    events.push({ event, data: typeof data === "string" ? data : String(data), id });
  }
  return events;
}

const jobs = {
  async text() {
    return collected("meta/meta-llama-3-8b-instruct", { prompt: "hi" });
  },
  async files() {
    return collected("black-forest-labs/flux-schnell", { prompt: "a fox", num_outputs: 2 });
  },
  async fileStream() {
    const made = await replicate.predictions.create({
      model: "black-forest-labs/flux-schnell",
      input: { prompt: "a fox" },
    });
    return { stream: made.urls.stream };
  },
  async aborted() {
    const made = await replicate.predictions.get(process.env.PREDICTION);
    const seen = await replicate.wait(made, { interval: 100 });
    return { status: made.status, waited: seen.status };
  },
};

console.log(JSON.stringify(await jobs[process.argv[2]]()));
