// One job with the official JavaScript client, named by the first argument; answers with one line
// of JSON. BASE_URL, KEY and EXAMPLES (the examples that users are given) come from the environment.
import Replicate from "replicate";

const { BASE_URL, KEY } = process.env;
const { flux, fluxInput, lora, loraInput } = JSON.parse(process.env.EXAMPLES);
const replicate = new Replicate({ auth: KEY, baseUrl: BASE_URL });
const poll = { mode: "poll", interval: 100 };

async function bytesOf(output) {
  // A file of the client's own (from an https: or data: address), or an address to be fetched.
  const blob = typeof output === "string" ? await (await fetch(output)).blob() : await output.blob();
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return { type: blob.type, size: bytes.length, head: Array.from(bytes.slice(0, 12)) };
}

const jobs = {
  async block() {
    const [picture] = await replicate.run(flux, { input: fluxInput, wait: { mode: "block" } });
    return { isString: typeof picture === "string", ...(await bytesOf(picture)) };
  },
  async poll() {
    const statuses = [];
    const [picture] = await replicate.run(
      lora,
      { input: loraInput, wait: poll },
      (prediction) => statuses.push(prediction.status),
    );
    const isString = typeof picture === "string";
    return { isString, url: String(picture), statuses, ...(await bytesOf(picture)) };
  },
  async pollModel() {
    const [picture] = await replicate.run(flux, { input: fluxInput, wait: poll });
    return { url: String(picture), ...(await bytesOf(picture)) };
  },
  async paginate() {
    const seen = [];
    let pages = 0;
    for await (const page of replicate.paginate(replicate.predictions.list)) {
      pages += 1;
      seen.push(...page.map((prediction) => prediction.id));
    }
    return { seen, pages };
  },
  async paginateModels() {
    const names = [];
    for await (const page of replicate.paginate(replicate.models.list)) {
      names.push(...page.map((model) => `${model.owner}/${model.name}`));
    }
    return { names };
  },
  async cancel() {
    const made = await replicate.predictions.create({
      model: "simulated/slow",
      input: { seconds: 100 },
    });
    await replicate.predictions.cancel(made.id);
    return { status: (await replicate.wait(made, { interval: 100 })).status };
  },
  async fails() {
    try {
      await replicate.run("simulated/failing", { input: { message: "out of paint", seconds: 0.1 } });
    } catch (error) {
      return { message: error.message };
    }
    return {};
  },
  async refused() {
    const stranger = new Replicate({ auth: "hk-nobody", baseUrl: BASE_URL });
    try {
      await stranger.predictions.list();
    } catch (error) {
      return { status: error.response.status };
    }
    return {};
  },
};

console.log(JSON.stringify(await jobs[process.argv[2]]()));
