// The official Node client against a running server: OPENAI_BASE_URL, OPENAI_API_KEY.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const user = (content) => [{ role: "user", content }];
const tool = {
  type: "function",
  function: {
    name: "lamp_price",
    description: "The price of a lamp.",
    parameters: { type: "object", properties: { lamp: { type: "string" } }, required: ["lamp"] },
  },
};

// a reply, and what our own field says of it
const question = "What do express parcels cost?";
const answer = await client.chat.completions.create({ model: "support", messages: user(question) });
assert.equal(answer.choices[0].message.content, "Express parcels cost nine euros. [1]");
assert.equal(answer.choices[0].finish_reason, "stop");
assert.equal(answer.sartor.citations[0].source, "delivery.md");

// a stream
const stream = await client.chat.completions.create({
  model: "free",
  messages: user("Tell me about lamps."),
  max_tokens: 8,
  stream: true,
  stream_options: { include_usage: true },
});
let text = "", last, usage;
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  last = chunk.choices[0]?.finish_reason ?? last;
  usage = chunk.usage ?? usage;
}
assert.ok(text && usage.completion_tokens === 8 && last === "length");

// tools, run by the client's own loop
const asked = [];
const runner = client.chat.completions.runTools({
  model: "tools",
  messages: user("What does the Luna cost?"),
  tools: [{ ...tool, function: { ...tool.function, parse: JSON.parse, function: (given) => (asked.push(given), "49 EUR") } }],
});
assert.equal(await runner.finalContent(), "The Luna costs 49 EUR.");
assert.deepEqual(asked, [{ lamp: "Luna" }]);

// a format
const schema = { type: "object", properties: { city: { enum: ["Lyon"] } }, required: ["city"], additionalProperties: false };
const parsed = await client.chat.completions.parse({
  model: "free",
  messages: user("Where?"),
  response_format: { type: "json_schema", json_schema: { name: "city", strict: true, schema } },
});
assert.deepEqual(JSON.parse(parsed.choices[0].message.content), { city: "Lyon" });

// models, embeddings
const models = [];
for await (const model of client.models.list()) models.push(model.id);
assert.ok(models.includes("acme/support"));
assert.equal((await client.models.retrieve("acme/support")).id, "acme/support");
const vectors = await client.embeddings.create({ model: "embeddings", input: ["lamp", "rain"] });
assert.equal(vectors.data[1].embedding.length, 64);
assert.ok(Math.abs(Math.hypot(...vectors.data[0].embedding) - 1) < 1e-5);

// errors
await assert.rejects(client.chat.completions.create({ model: "nothing", messages: user("Hi") }), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({ model: "free", messages: [] }), OpenAI.BadRequestError);
const stranger = new OpenAI({ apiKey: "sk-nothing", maxRetries: 0 });
await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);

// a stream that is given up
const endless = await client.chat.completions.create({ model: "endless", messages: user("Go"), stream: true });
let pieces = 0;
for await (const _ of endless) if (++pieces === 10) break;

console.log("all well");
